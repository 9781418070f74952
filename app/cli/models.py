"""The commands `models list` and `models pull`."""

from __future__ import annotations

import click

from app.engine import weights
from app.engine.models import REGISTRY
from app.errors import ServiceError

__all__ = ["models"]


@click.group()
def models() -> None:
    """List models and fetch their weights."""


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
