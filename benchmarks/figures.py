"""Figures of the side-by-side benchmark as plain data, in memory and in JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter

from benchmarks.client import Load
from benchmarks.steal import MAX_STOLEN

__all__ = ["Bare", "Cell", "ColdStart", "Figures", "Layout", "Lone", "Machine", "Shot", "read_figures"]


@dataclass(frozen=True, slots=True)
class Machine:
    """Machine of the benchmark; `flags` are its vector instructions, `load` is its load average at the start."""

    processor: str
    cores: int
    python: str
    ours: dict[str, str]
    rembg: dict[str, str]
    load: float
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Shot:
    """A photo of the benchmark; `name` is its name in the tables."""

    name: str
    width: int
    height: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Cell:
    """One run of one server.

    `peak_pss` is that of its process tree in bytes, `cpu_ms` that of the tree per photo, `stolen` the share of
    the cores' time that other machines on the host took.
    """

    round: int
    contender: str
    model: str
    photo: str
    load: Load
    cpu_ms: float | None
    peak_pss: int
    stolen: float = 0.0

    @property
    def disturbed(self) -> bool:
        """Return whether too much time was stolen in every repetition of the run."""
        return self.stolen > MAX_STOLEN


@dataclass(frozen=True, slots=True)
class ColdStart:
    """Seconds from the start to the first result."""

    round: int
    contender: str
    model: str
    photo: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Layout:
    """A run with a number of engines and threads."""

    engines: int
    threads: int
    cell: Cell


@dataclass(frozen=True, slots=True)
class Bare:
    """The bare `session.run` of a model, in parallel `sessions` with `threads` each: the upper limit of any server."""

    round: int
    model: str
    sessions: int
    threads: int
    median_ms: float
    runs_per_second: float


@dataclass(frozen=True, slots=True)
class Lone:
    """Stages of a photo in a separate process on an otherwise idle machine: medians in ms."""

    model: str
    photo: str
    threads: int
    stages_ms: dict[str, float]


@dataclass(frozen=True, slots=True)
class Figures:
    """All figures of one benchmark."""

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
    """Read a file written by `--json`; raise ValueError if it is not one."""
    return TypeAdapter(Figures).validate_json(Path(path).read_bytes())
