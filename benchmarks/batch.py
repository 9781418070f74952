"""A folder of photos through a command: ours and rembg's, with the same ONNX file."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from tempfile import TemporaryDirectory

from benchmarks.contenders import REMBG, REMBG_FOLDER, Model
from benchmarks.memory import process_memory
from benchmarks.server import ROOT, ServiceFailed, running_process
from benchmarks.watch import Watch

__all__ = ["BatchCommand", "BatchRun", "our_command", "rembg_command", "run_command_on", "write_photos"]

SAMPLE_SECONDS = 0.5
# rembg's name of a session with a file of its own.
CUSTOM_SESSION = "u2net_custom"


@dataclass(frozen=True, slots=True)
class BatchCommand:
    """A command that processes a folder; its name, and, after `before_output`, that of the results are added to it."""

    name: str
    model: str
    arguments: Sequence[str]
    before_output: Sequence[str]
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class BatchRun:
    """Result of a command: seconds from start to end, and maximum memory in bytes, of its own process and of all."""

    command: str
    model: str
    photos: int
    seconds: float
    rss: int
    pss: int
    total_pss: int

    @property
    def photos_per_second(self) -> float:
        """Return the rate, start and end of the command included."""
        return self.photos / self.seconds


def our_command(model: Model) -> BatchCommand:
    """Return the command `remove` with its defaults."""
    arguments = [sys.executable, "-m", "app", "remove", "--quiet", "--model", model.name]
    return BatchCommand("remove", model.name, arguments, ["-o"], {})


def rembg_command(model: Model) -> BatchCommand:
    """Return `rembg p` with its defaults and the same file."""
    extras = json.dumps({"model_path": str(model.file)})
    arguments = [str(REMBG_FOLDER / "bin/rembg"), "p", "-m", CUSTOM_SESSION, "-x", extras]
    return BatchCommand(f"{REMBG} p", model.name, arguments, [], {"REMBG_HOME": str(model.home)})


def write_photos(folder: Path, photo: bytes, number: int) -> None:
    """Write the same photo under many names."""
    folder.mkdir()
    first = folder / "photo-00000.jpg"
    first.write_bytes(photo)
    for each in range(1, number):
        (folder / f"photo-{each:05}.jpg").hardlink_to(first)


def run_command_on(command: BatchCommand, photos: Path) -> BatchRun:
    """Process a folder; raise ServiceFailed if a result is missing."""
    expected = sum(1 for _ in photos.iterdir())
    with TemporaryDirectory(dir=photos.parent) as output:
        arguments = [*command.arguments, str(photos), *command.before_output, output]
        started = time.monotonic()
        with running_process(arguments, ROOT, command.environment, []) as process:
            memory = _Memory(process)
            with Watch(memory.look, SAMPLE_SECONDS):
                status = process.wait()
            seconds = time.monotonic() - started
        written = sum(1 for _ in Path(output).iterdir())
    if status or written != expected:
        raise ServiceFailed(f"{command.name}: {written} results for {expected} photos, exit status {status}")
    return BatchRun(command.name, command.model, written, seconds, memory.rss, memory.pss, memory.total_pss)


class _Memory:
    """Maximum memory of a command's own process, and of all its processes together."""

    def __init__(self, process: Popen[bytes]) -> None:
        self._pid = process.pid
        self.rss = self.pss = self.total_pss = 0

    def look(self) -> None:
        """Take a sample."""
        processes = process_memory(self._pid)
        self.total_pss = max(self.total_pss, sum(each.pss for each in processes))
        for own in (each for each in processes if each.pid == self._pid):
            self.rss, self.pss = max(self.rss, own.rss), max(self.pss, own.pss)
