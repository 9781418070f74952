"""The command `serve`."""

from __future__ import annotations

import os
import sys

import click

__all__ = ["serve"]


@click.command()
def serve() -> None:
    """Start the service on HOST and PORT; stop it with Ctrl-C."""
    # gunicorn itself reads this variable, before gunicorn.conf.py, and fails with a traceback if it is empty.
    if not os.environ.get("WEB_CONCURRENCY"):
        os.environ.pop("WEB_CONCURRENCY", None)
    os.execv(sys.executable, [sys.executable, "-m", "gunicorn", "app:create_app()"])  # noqa: S606  # our own process
