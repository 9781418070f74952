"""Arguments, signals and tables of the benchmarks' command lines."""

from __future__ import annotations

import argparse
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
    "load_parser",
    "megabytes",
    "milliseconds",
    "positive",
    "print_table",
    "run_command",
    "write_json",
]

NONE = "–"


def run_command(command: Callable[[], int]) -> int:
    """Return the exit status of a command; signals become exceptions, so that its service and files are cleaned up."""
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
    """Raise SystemExit for a signal."""
    sys.exit(128 + number)


def load_parser(name: str, description: str | None, clients: int) -> argparse.ArgumentParser:
    """Return a parser with the arguments that all tests under load have."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=description)
    add = parser.add_argument
    add("--clients", type=at_least_one, default=clients, help=f"parallel clients (default: {clients})")
    add("--seed", type=int, default=1, help="seed of a reproducible run (default: 1)")
    add("--json", type=Path, metavar="FILE", help="file for the figures")
    return parser


def positive(text: str) -> float:
    """Parse a number over 0."""
    if not 0 < (number := float(text)) < float("inf"):
        raise ValueError(text)
    return number


def at_least_one(text: str) -> int:
    """Parse an integer over 0."""
    if (number := int(text)) < 1:
        raise ValueError(text)
    return number


def megabytes(count: int | float) -> str:
    """Format bytes as megabytes."""
    return f"{count / MEGABYTE:.1f}"


def milliseconds(time: float | None) -> str:
    """Format a time in ms, or its absence."""
    return NONE if time is None else f"{time:.1f}"


def counts(numbers: Mapping[str, int]) -> str:
    """Format counts by name."""
    return ", ".join(f"{number} × {name}" for name, number in sorted(numbers.items())) or "none"


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print columns of equal width, the first left-aligned, the others right-aligned."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        cells = [f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)]
        print("  ".join([f"{row[0]:<{widths[0]}}", *cells[1:]]))


def write_json(path: Path | None, figures: dict[str, Any]) -> None:
    """Write the figures of a run to a file, if one is given."""
    if path:
        path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
