"""Measure the real service under load: `python -m benchmarks.load [--seconds 10] [--clients 1 4 16] [--json FILE]`."""

from __future__ import annotations

import argparse
import io
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from PIL import Image

from app.capacity import plan_capacity
from app.engine.container import cpu_quota
from app.settings import load_settings
from benchmarks.client import STAGES, Load, Post, run_load
from benchmarks.console import (
    NONE,
    at_least_one,
    counts,
    megabytes,
    milliseconds,
    positive,
    print_table,
    run_command,
    write_json,
)
from benchmarks.memory import ProcessMemory
from benchmarks.photos import sample_photo
from benchmarks.server import ROOT, Service, ServiceFailed, running_service
from benchmarks.watch import MemoryWatch, Watch

WARM_UP_SECONDS = 3.0
# A sample takes about 7 ms of one core.
SAMPLE_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Machine:
    """Machine and capacity of the measured service."""

    cores: int
    web_workers: int
    engines: int
    engine_threads: int
    model: str
    provider: str


@dataclass(frozen=True, slots=True)
class Run:
    """One row of the load table."""

    load: Load
    peak_pss: int


@dataclass(frozen=True, slots=True)
class Report:
    """All figures of a benchmark; memory in bytes."""

    machine: Machine
    photo_bytes: int
    ready_seconds: float
    idle: list[ProcessMemory]
    runs: list[Run]


def main() -> int:
    """Measure, print, and return the exit status."""
    arguments = _arguments()
    with running_service() as service:
        report = _measure(service, arguments)
    write_json(arguments.json, asdict(report))
    return 0 if all(run.load.photos for run in report.runs) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    parser.add_argument("--seconds", type=positive, default=10.0, help="length of each run (default: 10)")
    parser.add_argument(
        "--clients", type=at_least_one, nargs="+", default=[1, 4, 16], help="clients of each run (default: 1 4 16)"
    )
    parser.add_argument("--photo", type=_jpeg, metavar="PATH", help="a JPEG to post instead of the default photo")
    parser.add_argument("--json", type=Path, metavar="FILE", help="file for the figures")
    return parser.parse_args()


def _jpeg(text: str) -> bytes:
    try:
        with Image.open(text, formats=["JPEG"]):
            return Path(text).read_bytes()
    except OSError as error:
        raise argparse.ArgumentTypeError(f"not a readable JPEG: {error}") from None


def _measure(service: Service, arguments: argparse.Namespace) -> Report:
    """Measure and print all figures, the idle memory before the first photo."""
    idle, machine, photo = service.memory(), _machine(service), arguments.photo or sample_photo()
    _print_machine(machine)
    _print_idle(idle, service.ready_seconds)
    post = Post.of_photo(photo)
    answer_bytes = _warm_up(service, post, max(*arguments.clients, machine.engines))
    _print_photo(photo, answer_bytes, arguments.seconds)
    runs = [_run(service, post, clients, arguments.seconds) for clients in arguments.clients]
    _print_runs(runs)
    _print_failures(runs)
    return Report(machine, len(photo), service.ready_seconds, idle, runs)


def _machine(service: Service) -> Machine:
    """Return the capacity as the service computes it, from the same environment and .env."""
    settings, health = load_settings(ROOT / ".env"), service.health()
    capacity = plan_capacity(settings)
    return Machine(
        cores=cpu_quota(),
        web_workers=settings.web_concurrency,
        engines=settings.web_concurrency * capacity.engines,
        engine_threads=capacity.config.threads,
        model=str(health["model"]),
        provider=str(health["provider"]),
    )


def _warm_up(service: Service, post: Post, clients: int) -> int:
    """Give some photos to every engine; return the bytes of an answer."""
    load = run_load(service.port, post, clients, WARM_UP_SECONDS)
    if not load.photos:
        raise ServiceFailed(f"No result during the warm-up; failures: {counts(load.failures)}")
    return load.answer_bytes


def _run(service: Service, post: Post, clients: int, seconds: float) -> Run:
    memory = MemoryWatch(service)
    with Watch(memory.look, SAMPLE_SECONDS):
        load = run_load(service.port, post, clients, seconds)
    return Run(load, memory.peak.bytes)


def _print_machine(machine: Machine) -> None:
    print(
        f"{machine.cores} cores, {machine.web_workers} web worker(s), {machine.engines} engine(s) "
        f"with {machine.engine_threads} thread(s) each, model {machine.model} ({machine.provider})"
    )


def _print_idle(idle: list[ProcessMemory], ready_seconds: float) -> None:
    print(f"\nIdle memory in MB; ready {ready_seconds:.2f} s after the start")
    rows = [[process.role, megabytes(process.rss), megabytes(process.pss)] for process in idle]
    # No sum of RSS, which counts shared pages once per process.
    print_table(["process", "RSS", "PSS"], [*rows, ["total", NONE, megabytes(sum(each.pss for each in idle))]])


def _print_photo(photo: bytes, answer_bytes: int, seconds: float) -> None:
    width, height = Image.open(io.BytesIO(photo)).size
    print(
        f"\nLoad, {seconds:g} s each; photo of {width}x{height}, {len(photo) / 1000:.0f} kB of JPEG in, "
        f"{answer_bytes / 1000:.0f} kB of PNG out\n"
        "(times in ms, stages as medians; peak: PSS of all processes in MB)",
        flush=True,
    )


def _print_runs(runs: list[Run]) -> None:
    header = ["clients", "photos", "photos/s", "median", "p95", "queue", *STAGES, "peak"]
    print_table(header, [_row(run) for run in runs])


def _row(run: Run) -> list[str]:
    load = run.load
    times = [load.median_ms, load.p95_ms, *(load.stages_ms.get(stage) for stage in ("queue", *STAGES))]
    return [
        str(load.clients),
        str(load.photos),
        f"{load.photos_per_second:.1f}",
        *map(milliseconds, times),
        megabytes(run.peak_pss),
    ]


def _print_failures(runs: list[Run]) -> None:
    for run in runs:
        if run.load.failures:
            print(f"Failures with {run.load.clients} client(s), not included above: {counts(run.load.failures)}")


if __name__ == "__main__":
    sys.exit(run_command(main))
