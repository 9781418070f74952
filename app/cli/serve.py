"""The command `serve`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

__all__ = ["serve"]


@click.command()
def serve() -> None:
    """Start the service on HOST and PORT; stop it with Ctrl-C."""
    # gunicorn itself reads this variable, before gunicorn.conf.py, and fails with a traceback if it is empty.
    if not os.environ.get("WEB_CONCURRENCY"):
        os.environ.pop("WEB_CONCURRENCY", None)
    command = [sys.executable, "-m", "gunicorn", *_configuration(), "app:create_app()"]
    os.execv(sys.executable, command)  # noqa: S606  # our own process


def _configuration() -> list[str]:
    """Return the option for gunicorn's configuration, unless it is in the working directory."""
    if Path("gunicorn.conf.py").exists():
        return []
    root = Path(__file__).parent.parent.parent  # a checkout, or the folder of pip's packages
    places = (root, root / "share/background-remover", Path(sys.prefix, "share/background-remover"))
    found = next((place for place in places if (place / "gunicorn.conf.py").exists()), None)
    if found is None:
        raise click.ClickException("gunicorn.conf.py is missing: install the service again, or start it in its folder.")
    return ["--config", str(found / "gunicorn.conf.py")]
