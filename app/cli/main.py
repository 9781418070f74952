"""Group of all commands, and the short commands."""

from __future__ import annotations

import os

import click

from app.cli.doctor.command import doctor
from app.cli.limits import limits
from app.cli.models import models
from app.cli.remove.command import remove
from app.cli.serve import serve
from app.settings import SettingsError, load_settings, package_version
from app.storage import sweep

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_version(), prog_name="Background Remover API")
@click.pass_context
def main(context: click.Context) -> None:
    """Run a Background Remover API, and remove backgrounds without it."""
    try:
        export_rembg_settings()
    except SettingsError as error:
        if context.invoked_subcommand != "doctor":  # it reports the error itself
            raise click.ClickException(str(error)) from None


@main.command(short_help="Delete old results.")
def cleanup() -> None:
    """Delete old results in OUTPUT_DIR, and with CLEANUP_UPLOADS=true old files in UPLOAD_DIR."""
    settings = load_settings()
    count = sweep([settings.output_dir], settings.cleanup_max_age_hours * 3600, settings.swept_uploads)
    click.echo(f"{count} files deleted from {', '.join(map(str, (settings.output_dir, *settings.swept_uploads)))}")


def export_rembg_settings() -> None:
    """Export REMBG_HOME and MODEL_CHECKSUM_DISABLED to the environment, from which rembg reads them."""
    settings = load_settings()
    if settings.rembg_home:
        os.environ["REMBG_HOME"] = settings.rembg_home
    # rembg checks only for the variable's presence: "false" would mean true.
    os.environ.pop("MODEL_CHECKSUM_DISABLED", None)
    if settings.model_checksum_disabled:
        os.environ["MODEL_CHECKSUM_DISABLED"] = "1"


for command in (serve, remove, doctor, models, limits):
    main.add_command(command)
