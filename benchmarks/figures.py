"""What the side-by-side benchmark measures, as plain data: the same in memory, in JSON and behind every table."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter

from benchmarks.client import Load

__all__ = ["Bare", "Cell", "ColdStart", "Figures", "Layout", "Lone", "Machine", "Shot", "read_figures"]


@dataclass(frozen=True, slots=True)
class Machine:
    """What everything ran on; `load` is the system's load average when the benchmark began."""

    processor: str
    cores: int
    python: str
    ours: dict[str, str]
    rembg: dict[str, str]
    load: float


@dataclass(frozen=True, slots=True)
class Shot:
    """A photo that is posted, by its name in the tables."""

    name: str
    width: int
    height: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Cell:
    """One run against one server; memory is the peak PSS of its process tree in bytes, CPU that of the tree a photo."""

    round: int
    contender: str
    model: str
    photo: str
    load: Load
    cpu_ms: float | None
    peak_pss: int


@dataclass(frozen=True, slots=True)
class ColdStart:
    """Seconds from a start to the first finished cut-out."""

    round: int
    contender: str
    model: str
    photo: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Layout:
    """Engines and threads, in front of the run that was done with them."""

    engines: int
    threads: int
    cell: Cell


@dataclass(frozen=True, slots=True)
class Bare:
    """The bare `session.run` of a model, `sessions` at once with `threads` each: the most that can be had."""

    round: int
    model: str
    sessions: int
    threads: int
    median_ms: float
    runs_per_second: float


@dataclass(frozen=True, slots=True)
class Lone:
    """A photo's way through the pipeline in a process of its own, with nothing else going on: medians in ms."""

    model: str
    photo: str
    threads: int
    stages_ms: dict[str, float]


@dataclass(frozen=True, slots=True)
class Figures:
    """All that one run of the benchmark found."""

    machine: Machine
    seconds: float
    rounds: int
    shots: list[Shot] = field(default_factory=list)
    cells: list[Cell] = field(default_factory=list)
    cold_starts: list[ColdStart] = field(default_factory=list)
    layouts: list[Layout] = field(default_factory=list)
    bare: list[Bare] = field(default_factory=list)
    lone: list[Lone] = field(default_factory=list)


def read_figures(path: str) -> Figures:
    """Read what a run has kept with `--json`; raise ValueError when it is not that."""
    return TypeAdapter(Figures).validate_json(Path(path).read_bytes())
