"""Compare the simulation with a real run of workers with a simulated engine: `python -m benchmarks.scale_check`.

A simulated engine sleeps, so that the number of cores does not matter. The exit status is 1 if a rate differs by more
than 15 %.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from app.cli.remove.run import Photo, Rules, Run
from app.engine.submission import Deadline, Priority
from app.removal import Box, RemovalOptions, RemovalRequest, RemovalResult
from benchmarks.batch import write_photos
from benchmarks.console import at_least_one, positive, print_table, run_command, write_json
from benchmarks.photos import sample_photo
from benchmarks.scale_model import Cluster, Costs, simulate_backlog

__all__ = ["Check", "Trial"]

MAX_DEVIATION = 0.15
HEADER = ("workers", "engines", "photos", "measured /s", "simulated /s", "difference")


@dataclass(frozen=True, slots=True)
class Trial:
    """A real run and its simulation, in seconds from the first photo to the last result."""

    workers: int
    engines: int
    photos: int
    measured: float
    simulated: float

    @property
    def deviation(self) -> float:
        """Return the difference of the simulated rate to the measured one."""
        return self.measured / self.simulated - 1


@dataclass(frozen=True, slots=True)
class Check:
    """Measured costs of a photo besides its engine time, and the trials."""

    engine_seconds: float
    thread_seconds: float
    redis_seconds: float
    state_bytes: float
    trials: list[Trial] = field(default_factory=list)


class SleepingEngines:
    """Engines that sleep for a fixed time."""

    def __init__(self, engines: int, seconds: float, answer: bytes) -> None:
        self._free = threading.Semaphore(engines)
        self._seconds = seconds
        self._answer = answer

    def submit(
        self, request: RemovalRequest, deadline: Deadline, priority: Priority = Priority.INTERACTIVE
    ) -> RemovalResult:
        """Return the same result for every photo."""
        with self._free:
            time.sleep(self._seconds)
        return RemovalResult(self._answer, "image/png", 1000, 667, Box(0, 0, 1000, 667), 1.0, "lite", {})


def main() -> int:
    """Measure, simulate, print, and return the exit status."""
    arguments = _arguments()
    with TemporaryDirectory() as name:
        folder = Path(name)
        photos = folder / "photos"
        write_photos(photos, sample_photo(), arguments.photos)
        thread = _measured(photos, 1, 0.0) / arguments.photos
        costs = Costs(arguments.engine_seconds, 0.0, thread, 0.0)
        trials = [_trial(photos, workers, costs) for workers in arguments.workers]
    check = Check(arguments.engine_seconds, thread, 0.0, 0.0, trials)
    print_table(HEADER, [_row(trial) for trial in trials])
    write_json(arguments.json, asdict(check))
    return 0 if all(abs(trial.deviation) <= MAX_DEVIATION for trial in trials) else 1


def _measured(photos: Path, engines: int, seconds: float) -> float:
    options = RemovalOptions("lite", longest_side=2048)
    rules = Rules(max_image_bytes=20_000_000, timeout=60.0, overwrite=True)
    run = Run(SleepingEngines(engines, seconds, bytes(400_000)), engines, rules, lambda *_: None)
    output = photos.parent / "results"
    started = time.monotonic()
    run.work(Photo(path, output / f"{path.stem}.png", options) for path in photos.iterdir())
    return time.monotonic() - started


def _trial(photos: Path, engines: int, costs: Costs) -> Trial:
    number = sum(1 for _ in photos.iterdir())
    measured = _measured(photos, engines, costs.engine)
    return Trial(1, engines, number, measured, simulate_backlog(number, Cluster(1, engines), costs).seconds)


def _row(trial: Trial) -> list[str]:
    rates = [f"{trial.photos / seconds:.1f}" for seconds in (trial.measured, trial.simulated)]
    return [*map(str, (trial.workers, trial.engines, trial.photos)), *rates, f"{trial.deviation:+.1%}"]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale_check", description=__doc__)
    add = parser.add_argument
    add("--photos", type=at_least_one, default=400, help="photos of each run (default: 400)")
    add("--workers", type=at_least_one, nargs="+", default=[1, 2, 4], help="worker processes (default: 1 2 4)")
    add("--engine-seconds", type=positive, default=0.2, metavar="S", help="time in an engine (default: 0.2)")
    add("--json", type=Path, metavar="FILE", help="file for the figures")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(run_command(main))
