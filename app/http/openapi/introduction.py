"""Description of the API in general: its conventions, this server's limits, its presets."""

from __future__ import annotations

from collections.abc import Mapping

from app.settings import Settings

__all__ = ["introduction"]

CONVENTIONS = """Removes the background of photos.

Parameters can be sent in the query string, as form fields or as JSON; the body overrides the query. An empty value
means "not set". Choices are case-insensitive; booleans are true/false, 1/0, yes/no or on/off. Sending a parameter twice
is an error; unknown parameters are listed in `X-Ignored-Params`.

If the operator has configured API keys, all endpoints except health, metrics and this description require one."""


def introduction(settings: Settings, presets: Mapping[str, Mapping[str, str]]) -> str:
    """Return the text as Markdown."""
    limits = "\n".join(f"| {name} | {value} |" for name, value in _limits(settings).items())
    named = "\n".join(f"| `{_cell(name)}` | {_fields(fields)} |" for name, fields in presets.items())
    return (
        f"{CONVENTIONS}\n\n## Limits of this server\n\n| Limit | Value |\n|---|---|\n{limits}\n\n"
        f"## Presets\n\n| `preset` | Parameters |\n|---|---|\n{named}\n"
    )


def _limits(settings: Settings) -> dict[str, str]:
    return {
        "Request body": f"{settings.max_content_length:,} bytes",
        "Image": f"{settings.max_image_bytes:,} bytes, {settings.max_pixels_hard:,} pixels",
        "Longer side of the result, without `full_size`": f"{settings.max_dimension} px",
        "Time until the answer": f"{settings.request_timeout:g} s",
        "Waiting requests": str(settings.queue_size),
        "`/remove-background` and `/api/remove`": _rate(settings.rate_limit_remove_bg_per_hour),
        "`/remove-background-preview`": _rate(settings.rate_limit_preview_per_hour),
        "`/remove-background-base64`": _rate(settings.rate_limit_base64_per_hour),
        "`/jobs`": _rate(settings.rate_limit_jobs_per_hour, "photos per client and hour"),
        "Job": f"{settings.jobs_max_files:,} photos, {settings.jobs_max_bytes:,} bytes",
        "`/read-file`": _rate(settings.rate_limit_read_file_per_hour),
        "`/v1.0/removebg`": _rate(settings.rate_limit_megapixels_per_minute, "megapixels per client and minute"),
    }


def _rate(amount: int, unit: str = "requests per client and hour") -> str:
    return f"{amount} {unit}" if amount else "no limit"


def _fields(fields: Mapping[str, str]) -> str:
    return ", ".join(f"`{name}={_cell(value)}`" for name, value in fields.items())


def _cell(text: str) -> str:
    """Return a text for a code span in a table, where `|` and a backtick would end it."""
    return text.replace("|", r"\|").replace("`", "'")
