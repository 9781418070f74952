"""Settings as rows, for the documentation and its tests; `python -m tools.settings_table` prints .env.sample."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, get_args, get_origin

import click
from annotated_types import Ge, Gt, Le
from pydantic import SecretStr

from app.settings import Settings

__all__ = ["SettingRow", "env_sample", "setting_rows"]


class SettingRow(NamedTuple):
    """NAME, default in the notation of .env, allowed values (empty: see the help) and help of one setting."""

    name: str
    default: str
    allowed: str
    help: str


def setting_rows() -> list[SettingRow]:
    """Return all settings, in order."""
    return [
        SettingRow(name.upper(), _default_text(field), _allowed(field), field.description or "")
        for name, field in Settings.model_fields.items()
    ]


def env_sample() -> str:
    """Return the text of .env.sample: every setting with its help and default, commented out."""
    lines = ["# All settings with their defaults. Copy this file to .env and uncomment the lines to change."]
    for row in setting_rows():
        lines += ["", f"# {row.help}", f"# {row.name}={row.default}"]
    return "\n".join(lines) + "\n"


def _allowed(field: Any) -> str:
    if get_origin(field.annotation) is Literal:
        return ", ".join(get_args(field.annotation))
    if field.annotation is bool:
        return "true, false"
    if float in (kinds := {field.annotation, *get_args(field.annotation)}) or int in kinds:
        return _range(field.metadata)
    return ""


def _range(bounds: list[Any]) -> str:
    low = next((f"{bound.ge}" for bound in bounds if isinstance(bound, Ge)), "")
    above = next((f"over {bound.gt}" for bound in bounds if isinstance(bound, Gt)), "")
    high = next((f"{bound.le}" for bound in bounds if isinstance(bound, Le)), "")
    return f"{low or above} to {high}" if high else f"{low or above} or more"


def _default_text(field: Any) -> str:
    default = field.default
    if field.default_factory is not None or default is None or default == ():
        return ""
    if isinstance(default, SecretStr):
        return default.get_secret_value()
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    return str(default).lower() if isinstance(default, bool) else str(default)


if __name__ == "__main__":
    click.echo(env_sample(), nl=False)
