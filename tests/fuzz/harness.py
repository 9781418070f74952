"""Fuzzing in child processes: inputs of a target by number, outcomes, and the smallest input of each finding."""
# ruff: noqa: T201

from __future__ import annotations

import argparse
import faulthandler
import logging
import os
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random

__all__ = ["Outcome", "Target", "run"]

# Inputs for one child process; a fresh one takes a second.
BATCH = 3000


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of an input; `trace` is that of a finding."""

    result: str
    trace: str = ""

    @property
    def is_finding(self) -> bool:
        """Return whether this must not happen."""
        return bool(self.trace)


@dataclass(frozen=True, slots=True)
class Target:
    """Function under test, its inputs, and its limits. Functions are at the level of a module, for child processes.

    `call` returns the name of an expected result and raises anything else.
    """

    seeds: Callable[[], dict[str, bytes]]
    damaged: Callable[[Random, dict[str, bytes]], tuple[str, bytes]]
    call: Callable[[bytes], str]
    seconds: int
    memory: int

    def attempt(self, data: bytes) -> Outcome:
        """Call the function with one input."""
        try:
            return Outcome(self.call(data))
        except Exception as error:  # noqa: BLE001 - any exception is a finding
            return Outcome(_signature(error), trace=traceback.format_exc())

    def made(self, files: dict[str, bytes], seed: int, index: int) -> tuple[str, bytes]:
        """Return the input of a number: the same one in every process."""
        return self.damaged(Random(f"{seed}:{index}"), files)


def _signature(error: Exception) -> str:
    """Return the type and the place of an error, so that each is kept once."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}"


def _work(target: Target, files: dict[str, bytes], seed: int, first: int, until: float, results: Connection) -> None:
    """Send the outcomes of a batch; any input may end the process."""
    logging.disable()
    _report_deaths()
    resource.setrlimit(resource.RLIMIT_AS, (target.memory, target.memory))
    for index in range(first, first + BATCH):
        signal.alarm(target.seconds)
        results.send(target.attempt(target.made(files, seed, index)[1]))
        signal.alarm(0)
        if time.time() > until:
            return


def _report_deaths() -> None:
    """Write the stack to stderr when a signal ends the process; discard the warnings of libtiff."""
    stderr = os.dup(2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    faulthandler.enable(stderr)
    faulthandler.register(signal.SIGALRM, stderr, chain=True)


def _batch(target: Target, files: dict[str, bytes], seed: int, first: int, until: float) -> Iterator[Outcome]:
    """Yield the outcomes of a child process; the last one is its death if it died."""
    context = get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_work, args=(target, files, seed, first, until, sender))
    child.start()
    sender.close()
    try:
        while True:
            yield receiver.recv()
    except EOFError:
        child.join()
    if child.exitcode:
        code = child.exitcode
        death = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        yield Outcome(death, trace=f"The process ended with {death}.")


@dataclass
class Tally:
    """Counts of inputs and outcomes; the smallest input of each finding is kept in a folder."""

    folder: Path
    inputs: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    findings: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, data: bytes, outcome: Outcome) -> None:
        """Count an input, keep it if it is a finding and smaller than those like it."""
        kind = name.split()[0]
        self.inputs[kind] += 1
        self.outcomes[outcome.result] += 1
        key = f"{kind} {outcome.result}"
        if outcome.is_finding and len(data) < self.findings.get(key, sys.maxsize):
            self.findings[key] = len(data)
            self._keep("".join(each if each.isalnum() else "-" for each in key), name, data, outcome)

    def _keep(self, stem: str, name: str, data: bytes, outcome: Outcome) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / f"{stem}.bin").write_bytes(data)
        (self.folder / f"{stem}.txt").write_text(f"made of: {name}\n\n{outcome.trace}", encoding="utf-8")

    def show(self) -> None:
        """Print counts of inputs and outcomes, and the findings."""
        for title, counts in (("Inputs", self.inputs), ("Outcomes", self.outcomes)):
            print(f"{title}: {counts.total():,}")
            for name, count in counts.most_common():
                print(f"  {count:9,}  {name}")
        print(f"Findings: {len(self.findings)}" + (f", kept in {self.folder}" if self.findings else ""))
        for key, size in sorted(self.findings.items()):
            print(f"  {key}: {size:,} bytes")


def _fuzz(target: Target, minutes: float, seed: int, folder: Path) -> Tally:
    files, tally, index, until = target.seeds(), Tally(folder), 0, time.time() + 60 * minutes
    for name, data in files.items():
        tally.add(name, data, target.attempt(data))
    while time.time() < until:
        for outcome in _batch(target, files, seed, index, until):
            tally.add(*target.made(files, seed, index), outcome)
            index += 1
    return tally


def run(target: Target, description: str | None) -> int:
    """Run from the command line; 1 means findings."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=3.0, help="duration")
    parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same inputs")
    parser.add_argument("--findings", type=Path, default=Path("findings"), help="folder of inputs that are findings")
    options = parser.parse_args()
    tally = _fuzz(target, options.minutes, options.seed, options.findings)
    tally.show()
    return 1 if tally.findings else 0
