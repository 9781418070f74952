"""The group of all commands, and the commands that are a few lines."""

from __future__ import annotations

import os

import click

from app.cli.doctor.command import doctor
from app.cli.limits import limits
from app.cli.models import models
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
def cleanup() -> None:
    """Delete results in OUTPUT_DIR that are older than CLEANUP_MAX_AGE_HOURS; only files that the service made."""
    settings = load_settings()
    count = sweep([settings.output_dir], settings.cleanup_max_age_hours * 3600)
    click.echo(f"{count} files deleted from {settings.output_dir}")


def export_rembg_settings() -> None:
    """Put REMBG_HOME and MODEL_CHECKSUM_DISABLED from .env where rembg looks for them."""
    settings = load_settings()
    if settings.rembg_home:
        os.environ["REMBG_HOME"] = settings.rembg_home
    # rembg asks only whether the variable is there, so that "false" would mean true.
    os.environ.pop("MODEL_CHECKSUM_DISABLED", None)
    if settings.model_checksum_disabled:
        os.environ["MODEL_CHECKSUM_DISABLED"] = "1"


for command in (doctor, models, limits):
    main.add_command(command)
