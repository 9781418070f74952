"""What the benchmarks' command lines share: arguments, signals, tables."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from app.engine.container import MEGABYTE
from benchmarks.server import ServiceFailed

__all__ = [
    "NONE",
    "at_least_one",
    "counts",
    "megabytes",
    "milliseconds",
    "positive",
    "print_table",
    "run_command",
    "write_json",
]

NONE = "–"


def run_command(command: Callable[[], int]) -> int:
    """Return the exit status of a command, which ends its service and its files however it is told to stop."""
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, _exit)
    try:
        return command()
    except ServiceFailed as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _exit(number: int, _frame: object) -> NoReturn:
    """Turn a signal into an exception, so that the service is ended."""
    sys.exit(128 + number)


def positive(text: str) -> float:
    """Read a number over 0."""
    if not 0 < (number := float(text)) < float("inf"):
        raise ValueError(text)
    return number


def at_least_one(text: str) -> int:
    """Read a whole number over 0."""
    if (number := int(text)) < 1:
        raise ValueError(text)
    return number


def megabytes(count: int | float) -> str:
    """Write bytes as megabytes."""
    return f"{count / MEGABYTE:.1f}"


def milliseconds(time: float | None) -> str:
    """Write a time in ms, or that there is none."""
    return NONE if time is None else f"{time:.1f}"


def counts(numbers: Mapping[str, int]) -> str:
    """Write how often what was seen."""
    return ", ".join(f"{number} × {name}" for name, number in sorted(numbers.items())) or "none"


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print columns of equal width, the first aligned to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        cells = [f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)]
        print("  ".join([f"{row[0]:<{widths[0]}}", *cells[1:]]))


def write_json(path: Path | None, figures: dict[str, Any]) -> None:
    """Keep the figures of a run, where that was asked for."""
    if path:
        path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
