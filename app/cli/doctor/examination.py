"""All checks, in the order of the report."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from app.capacity import plan_capacity
from app.cli.doctor import access, configuration, installation, runtime
from app.cli.doctor.findings import Finding
from app.settings import SettingsError
from app.startup import checked_settings

__all__ = ["examine"]

ROOT = Path(__file__).parents[3]


def examine(env_file: str = ".env") -> Iterator[Finding]:
    """Yield the findings; with invalid settings, only those that need no settings."""
    yield installation.check_python()
    yield installation.check_packages(ROOT / "requirements.txt")
    try:
        settings = checked_settings(env_file)
    except SettingsError as error:
        yield configuration.invalid_settings(error)
        yield installation.check_decoders()
        yield installation.check_protections()
        return
    capacity = plan_capacity(settings)
    yield configuration.check_settings(env_file)
    yield configuration.check_capacity(settings, capacity)
    yield configuration.check_memory(settings, capacity)
    yield configuration.check_default_model(settings)
    yield configuration.check_other_models(settings)
    yield installation.check_rembg(settings, ROOT / "requirements-rembg.txt")
    yield installation.check_decoders()
    yield installation.check_protections()
    yield runtime.check_output(settings.output_dir)
    yield runtime.check_jobs(settings)
    yield runtime.check_redis(settings)
    yield runtime.check_port(settings)
    yield access.check_access(settings)
    yield runtime.check_engine(capacity.config)
