"""Log of the web process: one line per request, and the request's id in every line."""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
import time
from typing import Any

from flask import Flask, Response, g, has_request_context, request

from app import log_format
from app.http import request_ids
from app.http.client_address import client_network
from app.jobs.description import short_id
from app.settings import SettingProblem, Settings, SettingsError

__all__ = ["add_fields", "configure", "init_app"]

log = logging.getLogger("app.requests")

# Created in gunicorn's master before it forks: a client has the same hash in all workers until the next start.
_SALT = secrets.token_bytes(16)
_WORD = re.compile(r"[\w.-]+", re.ASCII)


def configure(settings: Settings) -> None:
    """Send the log lines of this process to LOG_FILE, in LOG_FORMAT; raise SettingsError for a bad LOG_FILE."""
    file = str(settings.log_file.absolute()) if settings.log_file else ""
    try:
        log_format.configure(settings.log_level, settings.log_format, file, request_ids.current)
    except OSError as error:
        raise SettingsError(SettingProblem.of("LOG_FILE", str(settings.log_file), error.strerror or "")) from None


def init_app(app: Flask) -> None:
    """Log one line per request; after the hooks of the metrics, which set `g.started`."""
    app.after_request(_log_request)


def add_fields(**fields: object) -> None:
    """Add fields to the log line of the current request: bytes_in, pixels, model, stages."""
    if has_request_context():
        g.setdefault("log_fields", {}).update(fields)


def client_hash(client: str) -> str:
    """Return a pseudonym of a client, constant until the next start, that doesn't reveal its address."""
    return hashlib.blake2s(client.encode(), key=_SALT, digest_size=6).hexdigest()


def _log_request(response: Response) -> Response:
    fields = _fields(response)
    text = " ".join(f"{name}={_text(value)}" for name, value in fields.items())
    log.log(_level(response), "%s", text, extra={"fields": {"message": "request", **fields}})
    return response


def _level(response: Response) -> int:
    """Return DEBUG for a successful health probe, else INFO."""
    return logging.DEBUG if request.blueprint == "health" and response.status_code == 200 else logging.INFO


def _fields(response: Response) -> dict[str, Any]:
    added = g.get("log_fields", {})
    received = request.content_length
    return {
        "method": request.method[:16],
        "path": _path()[:200],
        "status": response.status_code,
        "ms": round((time.monotonic() - g.started) * 1000, 1),
        "bytes_in": added.get("bytes_in", 0) if received is None else received,
        "bytes_out": response.content_length or 0,
        "pixels": added.get("pixels"),
        "model": added.get("model"),
        "stages": added.get("stages", {}),
        "client": client_hash(_client()),
    }


def _path() -> str:
    """Return the path with the beginning of a job's id."""
    job_id = str((request.view_args or {}).get("job_id", ""))
    short = short_id(job_id)
    return request.path if short == job_id else request.path.replace(job_id, f"{short}...", 1)


def _client() -> str:
    key = g.get("api_key_name")
    return f"key {key}" if key else client_network(request)


def _text(value: object) -> str:
    """Return a value as one word; client input is quoted, so that it cannot imitate another field."""
    if isinstance(value, dict):
        return ",".join(f"{name}:{number:.1f}" for name, number in value.items()) or "-"
    if isinstance(value, str) and not _WORD.fullmatch(value):
        return repr(value)
    return "-" if value is None else str(value)
