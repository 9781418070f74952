"""Progress of a run on stderr: a bar on a terminal, else lines; JSON lines on stdout."""

from __future__ import annotations

import json
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import click

from app.cli.remove.outcomes import Outcome, Tally, printable

__all__ = ["Progress", "ReportFile", "open_progress", "summary"]

SECONDS_BETWEEN_LINES = 5.0


class Progress:
    """Display of a run, by itself none; calls come from one thread at a time."""

    def update(self, outcome: Outcome, tally: Tally) -> None:
        """Show an outcome."""

    def close(self) -> None:
        """End the display."""


class JsonLines(Progress):
    """One JSON object per photo on a stream."""

    def __init__(self, stream: IO[str] | None = None) -> None:
        self._stream = stream

    def update(self, outcome: Outcome, tally: Tally) -> None:
        """Write a line at once, so that a reader can follow."""
        print(json.dumps(outcome.line()), file=self._stream or sys.stdout, flush=True)


class ReportFile(JsonLines):
    """JSON lines in a file; an error of the file ends the run."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("w", encoding="utf-8")
        super().__init__(self._file)

    def update(self, outcome: Outcome, tally: Tally) -> None:
        """Write a line; raise ClickException."""
        try:
            super().update(outcome, tally)
        except OSError as error:
            raise click.ClickException(f"--report {printable(self._path)}: {error.strerror}") from None

    def close(self) -> None:
        """Close the file: each line has been written, or its error raised."""
        with suppress(OSError):
            self._file.close()


class Lines(Progress):
    """A line every few seconds."""

    def __init__(self) -> None:
        self._started = self._last = time.monotonic()

    def update(self, outcome: Outcome, tally: Tally) -> None:
        """Write a line if the last one is old enough."""
        now = time.monotonic()
        if now - self._last < SECONDS_BETWEEN_LINES:
            return
        self._last = now
        rate = tally.done / (now - self._started)
        time_left = f", {tally.left / rate:.0f} s left" if rate else ""
        click.echo(
            f"{tally.total - tally.left} of {tally.total}, {rate:.1f} photos/s{time_left}, {tally.failed} failed, "
            f"last: {printable(outcome.source)}",
            err=True,
        )


class Bar(Progress):
    """A progress bar by tqdm, which rembg's downloads require anyway."""

    def __init__(self, total: int) -> None:
        from tqdm import tqdm

        self._bar: Any = tqdm(total=total, unit=" photos", dynamic_ncols=True, file=sys.stderr)

    def update(self, outcome: Outcome, tally: Tally) -> None:
        """Advance the bar."""
        if tally.total > self._bar.total:
            self._bar.total = tally.total
        self._bar.set_postfix_str(f"{tally.failed} failed, {printable(outcome.source.name)[-30:]}", refresh=False)
        self._bar.update()

    def close(self) -> None:
        """Leave the last state of the bar on the terminal."""
        self._bar.close()


def open_progress(total: int, *, quiet: bool, as_json: bool) -> Progress:
    """Return the display for this terminal."""
    if as_json:
        return JsonLines()
    if quiet:
        return Progress()
    return Bar(total) if sys.stderr.isatty() else Lines()


def summary(tally: Tally, *, quiet: bool) -> None:
    """Write the failures with their codes and reasons, and the counts, to stderr."""
    for outcome in tally.failures:
        click.echo(f"{printable(outcome.source)}: {outcome.code}: {outcome.message}", err=True)
    if more := tally.failed - len(tally.failures):
        click.echo(f"and {more} more failures; --report FILE has all", err=True)
    if not quiet:
        left = f", {tally.left} left" if tally.left else ""
        click.echo(f"{tally.done} done, {tally.skipped} skipped, {tally.failed} failed{left}", err=True)
