"""Log lines: one format, the request's id in each, one line per request."""

from __future__ import annotations

import logging
import sys
import time

from flask import Flask, Response, g, request

from app.observability import request_ids

__all__ = ["configure", "init_app"]

log = logging.getLogger("app.requests")

FORMAT = "%(asctime)s %(levelname)s [%(process)d] %(name)s request_id=%(request_id)s %(message)s"


class _RequestId(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = request_ids.current()
        return True


def configure(level: str) -> None:
    """Send the log lines of this process to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(FORMAT))
    handler.addFilter(_RequestId())
    logging.basicConfig(level=level, handlers=[handler], force=True)


def init_app(app: Flask) -> None:
    """Log one line per request."""
    app.before_request(_start)
    app.after_request(_log_request)


def _start() -> None:
    g.started = time.monotonic()


def _log_request(response: Response) -> Response:
    milliseconds = (time.monotonic() - g.started) * 1000
    log.info(
        "method=%s path=%r status=%d ms=%.1f bytes_in=%d bytes_out=%d",
        request.method,
        request.path[:200],
        response.status_code,
        milliseconds,
        request.content_length or 0,
        response.content_length or 0,
    )
    return response
