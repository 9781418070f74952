"""The command line: `python -m app`."""

from __future__ import annotations

import os

import click

from app.engine import weights
from app.engine.models import REGISTRY
from app.errors import ServiceError
from app.settings import SettingsError, load_settings
from app.storage import sweep

__all__ = ["main"]


@click.group()
@click.pass_context
def main(context: click.Context) -> None:
    """Operate a Background Remover API."""
    try:
        export_rembg_settings()
    except SettingsError as error:
        if context.invoked_subcommand != "doctor":  # which reports it together with the rest
            raise click.ClickException(str(error)) from None


@main.command()
@click.pass_context
def doctor(context: click.Context) -> None:
    """Check this installation and say what to do; exit status 1 when something does not work."""
    from app.doctor import Level, examine, summary

    findings = []
    for finding in examine():
        click.echo(str(finding))
        findings.append(finding)
    click.echo(f"\n{summary(findings)}")
    if any(finding.level is Level.FAIL for finding in findings):
        context.exit(1)


@main.group()
def models() -> None:
    """Look at models and fetch their weights."""


@models.command("list")
def list_models() -> None:
    """Show every model: name, size, licence, whether it is here."""
    width = max(map(len, REGISTRY))
    click.echo(f"{'NAME':{width}}  {'SIZE':>8}  {'HERE':4}  LICENCE")
    for model in REGISTRY.values():
        here = "yes" if weights.find(model) else "no"
        click.echo(f"{model.name:{width}}  {model.download_mb:5g} MB  {here:4}  {model.licence}")


@models.command()
@click.argument("name", type=click.Choice(sorted(REGISTRY)))
def pull(name: str) -> None:
    """Fetch a model's weights, unless they are here."""
    model = REGISTRY[name]
    if model.embedded:
        click.echo(f"{name} ships with the service: nothing to fetch.")
        return
    try:
        path = weights.fetch(model)
    except ServiceError as error:
        raise click.ClickException(f"{error.message} {error.advice}") from error
    except (OSError, ValueError) as error:  # no network, no space, or not what the checksum says
        raise click.ClickException(f"{name} could not be fetched: {error}") from error
    click.echo(f"{name} is here: {path}")


@main.command()
def cleanup() -> None:
    """Delete results in OUTPUT_DIR that are older than CLEANUP_MAX_AGE_HOURS; only files that the service made."""
    settings = load_settings()
    count = sweep([settings.output_dir], settings.cleanup_max_age_hours * 3600)
    click.echo(f"{count} files deleted from {settings.output_dir}")


@main.group()
def limits() -> None:
    """Look after rate limits."""


@limits.command()
@click.argument("client")
def reset(client: str) -> None:
    """Forget what a client has used up in Redis; CLIENT is an API key's name, or an address."""
    from redis import RedisError

    from app.limits import forget, possible_clients

    settings = load_settings()
    if settings.rate_limit_storage == "memory":
        raise click.ClickException(
            "RATE_LIMIT_STORAGE is memory: these counts lie in the web workers and cannot be reached from outside. "
            "They end with their hour, or when the service is started again."
        )
    try:
        count = sum(forget(settings.redis_url.get_secret_value(), name) for name in possible_clients(client))
    except RedisError as error:
        raise click.ClickException(f"Redis cannot be reached: {error}") from None
    click.echo(f"{count} counts of {client} deleted in Redis; what workers counted while it was away stays.")


def export_rembg_settings() -> None:
    """Put REMBG_HOME and MODEL_CHECKSUM_DISABLED from .env where rembg looks for them."""
    settings = load_settings()
    if settings.rembg_home:
        os.environ["REMBG_HOME"] = settings.rembg_home
    # rembg asks only whether the variable is there, so that "false" would mean true.
    os.environ.pop("MODEL_CHECKSUM_DISABLED", None)
    if settings.model_checksum_disabled:
        os.environ["MODEL_CHECKSUM_DISABLED"] = "1"
