"""Checks before the start, shared by gunicorn.conf.py and `python -m app doctor`."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from app.engine.providers import CPU, installed_providers, not_installed
from app.keys import check_keys
from app.observability.multiproc import FOLDER_VARIABLE
from app.options.presets import load_presets
from app.settings import SettingProblem, Settings, SettingsError, load_settings
from app.storage import write_problem

__all__ = ["announcement", "checked_settings"]


def checked_settings(env_file: str | Path | None = ".env") -> Settings:
    """Return the settings; raise SettingsError for an error in them, or in a file that they name."""
    settings = load_settings(env_file)
    load_presets(settings.presets_file)
    check_keys(settings.api_keys, settings.api_keys_file)
    _check_providers(settings)
    _check_celery(settings)
    if settings.log_file:
        _check_writable("LOG_FILE", settings.log_file)
    if folder := os.environ.get(FOLDER_VARIABLE):
        _check_writable(FOLDER_VARIABLE, Path(folder, "file"))
    return settings


def _check_providers(settings: Settings) -> None:
    """Raise SettingsError for execution providers that the installed onnxruntime doesn't have."""
    wanted = settings.execution_providers
    if wanted == (CPU,):
        return
    try:
        reason = not_installed(wanted, installed_providers())
    except OSError as error:
        reason = str(error)
    if reason:
        raise SettingsError(SettingProblem.of("EXECUTION_PROVIDERS", ",".join(wanted), reason))


def _check_celery(settings: Settings) -> None:
    """Raise SettingsError if the packages of Celery are needed and missing."""
    needed = ("celery", "s3fs") if settings.jobs_backend == "celery" else ()
    if missing := [name for name in needed if find_spec(name) is None]:
        reason = f"needs {' and '.join(missing)}: pip install -r requirements-jobs.txt"
        raise SettingsError(SettingProblem.of("JOBS_BACKEND", settings.jobs_backend, reason))


def announcement(settings: Settings) -> list[str]:
    """Return the lines of the log at start: addresses, limits per client, and a first command."""
    host = {"0.0.0.0": "localhost", "::": "localhost"}.get(settings.host, settings.host)  # noqa: S104
    url = f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"
    limits = {
        "/remove-background": settings.rate_limit_remove_bg_per_hour,
        "/remove-background-preview": settings.rate_limit_preview_per_hour,
        "/remove-background-base64": settings.rate_limit_base64_per_hour,
    }
    if settings.jobs_backend != "off":
        limits["/jobs (photos)"] = settings.rate_limit_jobs_per_hour
    per_hour = ", ".join(f"{path} {amount or 'no limit'}" for path, amount in limits.items())
    exempt = ", ".join(map(str, settings.rate_limit_exempt)) or "none"
    return [
        f"{'Web page' if settings.web_page else 'Address'}: {url}/, documentation: {url}/docs",
        f"Limits per client and hour: {per_hour}; without limits: {exempt}",
        f"Example: curl --fail-with-body -F file=@photo.jpg {url}/remove-background -o out.png",
    ]


def _check_writable(setting: str, file: Path) -> None:
    if problem := write_problem(file):
        raise SettingsError(SettingProblem.of(setting, str(file), problem))
