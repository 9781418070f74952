"""Commands `models list` and `models pull`."""

from __future__ import annotations

import click

from app.engine import weights
from app.engine.models import REGISTRY
from app.errors import ServiceError

__all__ = ["models"]


@click.group()
def models() -> None:
    """List models and download their weights."""


@models.command("list")
def list_models() -> None:
    """Print every model: name, size, installed (yes, no, or embedded in the service), licence."""
    width = max(map(len, REGISTRY))
    click.echo(f"{'NAME':{width}}  {'SIZE':>8}  {'INSTALLED':9}  LICENCE")
    for model in REGISTRY.values():
        installed = "embedded" if model.embedded else "yes" if weights.find(model) else "no"
        click.echo(f"{model.name:{width}}  {model.download_mb:5g} MB  {installed:9}  {model.licence}")


@models.command()
@click.argument("name", metavar="MODEL", type=click.Choice(sorted(REGISTRY)))
def pull(name: str) -> None:
    """Download a model's weights, unless they are installed."""
    model = REGISTRY[name]
    if model.embedded:
        click.echo(f"{name} is part of the service: nothing to download.")
        return
    try:
        path = weights.fetch(model)
    except ServiceError as error:
        raise click.ClickException(f"{error.message} {error.advice}") from error
    except (OSError, ValueError) as error:  # no network, no space, wrong checksum
        raise click.ClickException(f"{name} could not be downloaded: {error}") from error
    click.echo(f"{name} is installed: {path}")
