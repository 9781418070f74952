"""Command `limits reset`."""

from __future__ import annotations

import click

from app.settings import load_settings

__all__ = ["limits"]


@click.group()
def limits() -> None:
    """Manage rate limits."""


@limits.command(short_help="Delete a client's counts in Redis.")
@click.argument("client")
def reset(client: str) -> None:
    """Delete a client's counts in Redis; CLIENT is the name of an API key, or an address."""
    from redis import RedisError

    from app.clients import possible_clients
    from app.limits import forget

    settings = load_settings()
    if settings.rate_limit_storage == "memory":
        raise click.ClickException(
            "RATE_LIMIT_STORAGE is memory: the counts are in the web workers and cannot be reset from outside. "
            "They expire with their hour, or with a restart of the service."
        )
    try:
        count = sum(forget(settings.redis_url.get_secret_value(), name) for name in possible_clients(client))
    except RedisError as error:
        raise click.ClickException(f"Redis cannot be reached: {error}") from None
    click.echo(f"{count} counts of {client} deleted in Redis; counts in the workers' memory are kept.")
