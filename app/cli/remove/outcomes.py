"""Outcome of each photo, and the counts of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from app.errors import ServiceError
from app.removal import RemovalResult

__all__ = ["MAX_LISTED", "Failure", "Outcome", "Tally", "printable"]

# Failures that are kept for the summary; the report has all.
MAX_LISTED = 100


class Failure(Exception):
    """A failure of the command line itself, with a code that the API does not have."""

    def __init__(self, code: str, message: str, *, fatal: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.fatal = fatal


@dataclass(frozen=True, slots=True)
class Outcome:
    """Outcome of a photo; `facts` are further fields of its JSON line."""

    source: Path
    state: Literal["done", "skipped", "failed"]
    target: Path | None = None
    code: str = ""
    message: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def done(cls, source: Path, target: Path, result: RemovalResult, seconds: float) -> Outcome:
        """Return the outcome of a written result."""
        facts = {
            "seconds": round(seconds, 3),
            "bytes": len(result.body),
            "width": result.width,
            "height": result.height,
            "model": result.model,
            "confidence": result.confidence,
        }
        return cls(source, "done", target, facts=facts)

    @classmethod
    def failed(cls, source: Path, error: ServiceError | Failure, target: Path | None = None) -> Outcome:
        """Return the outcome of a failure; the message of an error of the API includes its advice."""
        message = f"{error.message} {error.advice}" if isinstance(error, ServiceError) else str(error)
        return cls(source, "failed", target, error.code, message)

    def line(self) -> dict[str, Any]:
        """Return the fields of its JSON line; a byte of a name that is not UTF-8 is a lone surrogate."""
        texts = {"output": str(self.target or ""), "code": self.code, "message": self.message}
        return {"file": str(self.source), "state": self.state} | {k: v for k, v in texts.items() if v} | self.facts


@dataclass(slots=True)
class Tally:
    """Counts of a run; `total` is the number of outputs that were found at its start."""

    total: int = 0
    done: int = 0
    skipped: int = 0
    failed: int = 0
    failures: list[Outcome] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """Count an outcome."""
        if outcome.state == "done":
            self.done += 1
        elif outcome.state == "skipped":
            self.skipped += 1
        else:
            self.failed += 1
            if len(self.failures) < MAX_LISTED:
                self.failures.append(outcome)

    @property
    def left(self) -> int:
        """Return the number of outputs without an outcome."""
        return max(0, self.total - self.done - self.skipped - self.failed)


def printable(path: Path | str) -> str:
    """Return a path as one line of text: bytes that are not UTF-8 and control characters are escaped."""
    text = str(path).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
