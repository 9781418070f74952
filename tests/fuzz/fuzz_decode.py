"""Fuzzer of `decode`, with damaged images: `python -m tests.fuzz.fuzz_decode --minutes 3 --seed 1`.

A finding is an outcome that is neither a Photo nor a ServiceError, a crash, more than 10 seconds or more than 4 GB.
Inputs are the same for the same seed. Exits with 1 if there are findings.
"""
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
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random

from app.errors import ServiceError
from app.imaging.decode import Photo, PixelLimits, decode
from tests.fuzz.damage import damaged
from tests.fuzz.seeds import seeds

LIMITS = PixelLimits(decoded=10**6, hard=4 * 10**6)
LONGEST_SIDE = 40
SECONDS = 10
MEMORY = 4 << 30
# Inputs for one child process; its start takes a second.
BATCH = 3000


@dataclass(frozen=True, slots=True)
class Outcome:
    """Outcome of an input; `trace` is the traceback of a finding."""

    decoded: str
    trace: str = ""

    @property
    def is_finding(self) -> bool:
        """Return whether the outcome is a bug."""
        return bool(self.trace)


def attempt(data: bytes) -> Outcome:
    """Decode one input."""
    try:
        return Outcome(type(_photo(data)).__name__)
    except Exception as error:  # noqa: BLE001 - any exception is a finding
        return Outcome(_signature(error), trace=traceback.format_exc())


def _photo(data: bytes) -> Photo | ServiceError:
    try:
        return decode(data, LONGEST_SIDE, LIMITS)
    except ServiceError as error:
        return error


def _signature(error: Exception) -> str:
    """Return an error's type and place, so that each error is kept once."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}"


def build_input(files: dict[str, bytes], seed: int, index: int) -> tuple[str, bytes]:
    """Return the input of an index, the same in every process."""
    return damaged(Random(f"{seed}:{index}"), files)


def work(files: dict[str, bytes], seed: int, first: int, until: float, results: Connection) -> None:
    """Send the outcome of each input, in a process that may crash on any of them."""
    logging.disable()
    _report_crashes()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for index in range(first, first + BATCH):
        signal.alarm(SECONDS)
        results.send(attempt(build_input(files, seed, index)[1]))
        signal.alarm(0)
        if time.time() > until:
            return


def _report_crashes() -> None:
    """Write a traceback to stderr when a signal ends the process; discard the messages of libtiff."""
    stderr = os.dup(2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    faulthandler.enable(stderr)
    faulthandler.register(signal.SIGALRM, stderr, chain=True)


def batch(files: dict[str, bytes], seed: int, first: int, until: float) -> Iterator[Outcome]:
    """Yield the outcomes of a child process; the last one is its crash, if it crashed."""
    context = get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=work, args=(files, seed, first, until, sender))
    child.start()
    sender.close()
    try:
        while True:
            yield receiver.recv()
    except EOFError:
        child.join()
    if child.exitcode:
        code = child.exitcode
        crash = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        yield Outcome(crash, trace=f"The process ended with {crash}.")


@dataclass
class Tally:
    """Counts so far; the smallest input of each finding is kept in a folder."""

    folder: Path
    inputs: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    findings: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, data: bytes, outcome: Outcome) -> None:
        """Count an input; keep it if it is the smallest of its finding."""
        kind = name.split()[0]
        self.inputs[kind] += 1
        self.outcomes[outcome.decoded] += 1
        key = f"{kind} {outcome.decoded}"
        if outcome.is_finding and len(data) < self.findings.get(key, sys.maxsize):
            self.findings[key] = len(data)
            self._keep("".join(each if each.isalnum() else "-" for each in key), name, data, outcome)

    def _keep(self, stem: str, name: str, data: bytes, outcome: Outcome) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / f"{stem}.bin").write_bytes(data)
        (self.folder / f"{stem}.txt").write_text(f"source: {name}\n\n{outcome.trace}", encoding="utf-8")

    def show(self) -> None:
        """Print counts of inputs and outcomes, and the findings."""
        for title, counts in (("Inputs", self.inputs), ("Outcomes", self.outcomes)):
            print(f"{title}: {counts.total():,}")
            for name, count in counts.most_common():
                print(f"  {count:9,}  {name}")
        print(f"Findings: {len(self.findings)}" + (f", kept in {self.folder}" if self.findings else ""))
        for key, size in sorted(self.findings.items()):
            print(f"  {key}: {size:,} bytes")


def fuzz(minutes: float, seed: int, folder: Path) -> Tally:
    """Fuzz for some minutes."""
    files, tally, index, until = seeds(), Tally(folder), 0, time.time() + 60 * minutes
    for name, data in files.items():
        tally.add(name, data, attempt(data))
    while time.time() < until:
        for outcome in batch(files, seed, index, until):
            tally.add(*build_input(files, seed, index), outcome)
            index += 1
    return tally


def main() -> int:
    """Run from the command line; 1 means findings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=3.0, help="duration")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same inputs")
    parser.add_argument("--findings", type=Path, default=Path("findings"), help="folder for the inputs of findings")
    options = parser.parse_args()
    tally = fuzz(options.minutes, options.seed, options.findings)
    tally.show()
    return 1 if tally.findings else 0


if __name__ == "__main__":
    sys.exit(main())
