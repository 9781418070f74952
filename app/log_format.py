"""Format and destination of log lines, the same in web processes and engines; standard library only.

With LOG_FILE every process appends to the file itself, one line at a time, and reopens it after it was moved. So log
rotation needs no signal, and no pipe between the processes can fill up or break.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Any

__all__ = ["configure"]

TEXT = "%(asctime)s %(levelname)s [%(process)d] %(name)s request_id=%(request_id)s %(message)s"


class _JsonFormatter(logging.Formatter):
    """Formatter of one JSON object per line; `fields` of a record become its keys."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "pid": record.process,
            "logger": record.name,
            "request_id": getattr(record, "request_id", "-"),
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure(level: str, form: str, file: str = "", request_id: Callable[[], str] = lambda: "-") -> None:
    """Write the log lines of this process, as `text` or `json`, to a file or to standard error; raise OSError.

    The folder of the file is created if it is missing. Records without a request id get that of `request_id`.
    """

    def add_request_id(record: logging.LogRecord) -> bool:
        if not hasattr(record, "request_id"):
            record.request_id = request_id()
        return True

    if file:
        with suppress(FileExistsError):  # a file in the place of the folder: opening it has the clearer error
            Path(file).parent.mkdir(parents=True, exist_ok=True)
    handler = WatchedFileHandler(file, encoding="utf-8") if file else logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter() if form == "json" else logging.Formatter(TEXT))
    handler.addFilter(add_request_id)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(True)
