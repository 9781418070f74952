"""Request ids: one per request, in its answer and in all log lines."""

from __future__ import annotations

import re
import uuid

from flask import Flask, Response, g, has_request_context, request

from app.http.headers import REQUEST_ID

__all__ = ["current", "init_app"]

VALID = re.compile(r"[\w-]{1,64}", re.ASCII)


def current() -> str:
    """Return the id of the current request, "-" outside of one."""
    return str(getattr(g, "request_id", "-")) if has_request_context() else "-"


def init_app(app: Flask) -> None:
    """Give every request an id: the client's own if it is valid, else a new one."""
    app.before_request(_assign)
    app.after_request(_echo)


def _assign() -> None:
    proposed = request.headers.get(REQUEST_ID.name, "")
    g.request_id = proposed if VALID.fullmatch(proposed) else uuid.uuid4().hex


def _echo(response: Response) -> Response:
    response.headers[REQUEST_ID.name] = current()
    return response
