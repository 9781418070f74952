"""Measure many photos at once: the command `remove`, jobs over HTTP, and `rembg p`: `python -m benchmarks.jobs`.

Rates are compared with the same service at 4 clients in the same run (`benchmarks.load`). `--write` writes a section
of docs/performance.md; the exit status is 1 if an aim is missed.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory

from app.engine.container import MEGABYTE, cpu_quota
from benchmarks.batch import our_command, rembg_command, run_command_on, write_photos
from benchmarks.client import Post, median, run_load
from benchmarks.console import NONE, at_least_one, positive, print_table, run_command, write_json
from benchmarks.contenders import Model, embedded_model, install_rembg
from benchmarks.job_client import JobClient, Latencies
from benchmarks.markdown import markdown_table
from benchmarks.photos import photo_of
from benchmarks.sections import write_section
from benchmarks.server import ROOT, Service, ServiceFailed, running_service
from benchmarks.steal import undisturbed
from benchmarks.watch import Watch

__all__ = ["TITLE", "Figure"]

PARTS = ("remove", "jobs", "large", "rembg")
TEXT, TITLE, LINE = ROOT / "docs/performance.md", "Many photos at once", 120
CLIENTS = 4
LOAD_SECONDS, WARM_UP_SECONDS = 10.0, 2.0
# Pause of the interactive client, which would otherwise take half of the engines.
PAUSE_SECONDS = 1.0
SAMPLE_SECONDS = 0.2
MEGAPIXELS = 0.7
# Photos whose results, PNGs in full size, are large.
LARGE_MEGAPIXELS, LARGE_RESULT_BYTES = 12, 9_000_000
# A comment in a JPEG: marker, length, text.
COMMENT = b"\xff\xfe\xff\xff" + bytes(65_533)
QUICK = {"photos": 40, "job_photos": 40, "bytes": 20_000_000}
HEADER = ("", "measured", "compared with", "ratio", "aim", "")


@dataclass(frozen=True, slots=True)
class Figure:
    """One line: a value, the value it is compared with, their ratio, and the aim."""

    name: str
    measured: str
    compared: str
    ratio: str
    aim: str
    met: bool

    @property
    def row(self) -> list[str]:
        """Return its cells."""
        return [self.name, self.measured, self.compared, self.ratio, self.aim, "met" if self.met else "missed"]


def main() -> int:
    """Measure, print, write, and return the exit status."""
    arguments = _arguments()
    figures = list[Figure]()
    versions = install_rembg() if "rembg" in arguments.parts else {}
    try:
        with TemporaryDirectory() as folder:
            for figure in _measured(Path(folder), arguments):
                print("  ".join(figure.row), file=sys.stderr, flush=True)
                figures.append(figure)
    finally:
        rows = [figure.row for figure in figures]
        if rows:
            print_table(HEADER, rows)
        write_json(arguments.json, {"figures": [asdict(figure) for figure in figures], "rembg": versions})
    if arguments.write:
        lines = textwrap.wrap(_introduction(arguments), LINE, break_on_hyphens=False)
        write_section(TEXT, TITLE, [*lines, "", *markdown_table(HEADER, rows)])
    return 0 if all(figure.met for figure in figures) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.jobs", description=__doc__)
    add = parser.add_argument
    add("--photos", type=at_least_one, default=1000, help="photos of a command (default: 1000)")
    add("--job-photos", type=at_least_one, default=500, help="photos of a job (default: 500)")
    add("--bytes", type=positive, default=1e9, help="bytes of a large body and a large ZIP (default: 1e9)")
    add("--rembg-photos", type=at_least_one, default=100, help="photos beside rembg, which takes longer (default: 100)")
    add("--models", nargs="+", choices=("lite", "u2netp"), default=["u2netp", "lite"], help="models beside rembg")
    add("--parts", nargs="+", choices=PARTS, default=PARTS, help="parts to measure (default: all)")
    add("--quick", action="store_true", help="few photos, to try the benchmark")
    add("--json", type=Path, metavar="FILE", help="file for the figures")
    add("--write", action="store_true", help="write the section of docs/performance.md")
    arguments = parser.parse_args()
    if arguments.quick:
        vars(arguments).update(QUICK, rembg_photos=10)
    return arguments


def _introduction(arguments: argparse.Namespace) -> str:
    return (
        f"Written by `make bench-jobs` on {cpu_quota()} cores. Photos have {MEGAPIXELS} megapixels, results are PNG; "
        f"rates include the start of a command and the body of a job. `engines` is the service at {CLIENTS} clients in "
        f"the same run, as in `make bench-load`. The large job has photos of {LARGE_MEGAPIXELS} megapixels with "
        f"`full_size=true`. The interactive client posts a photo, and pauses {PAUSE_SECONDS:g} s after each answer."
    )


def _measured(folder: Path, arguments: argparse.Namespace) -> Iterator[Figure]:
    photo = photo_of(MEGAPIXELS)
    lite = embedded_model("lite", folder / "lite")
    parts = set(arguments.parts)
    if parts & {"remove", "jobs", "large"}:
        with _service(lite, folder) as service:
            rate = _engines_rate(service, photo)
            if "jobs" in parts:
                yield from _job_figures(service, folder, photo, rate, arguments.job_photos)
            if "large" in parts:
                yield from _large_figures(service, folder, arguments.bytes)
        if "remove" in parts:
            yield from _remove_figures(lite, folder, photo, rate, arguments.photos)
    if "rembg" in parts:
        for name in arguments.models:
            model = lite if name == "lite" else embedded_model(name, folder / name)
            yield _rembg_figure(model, folder, photo, arguments.rembg_photos)


@contextmanager
def _service(model: Model, folder: Path) -> Iterator[Service]:
    with running_service(ROOT, **{**model.ours, "JOBS_DIR": str(folder / "jobs")}) as service:
        yield service


def _engines_rate(service: Service, photo: bytes) -> float:
    """Return the photos a second of a service at 4 clients."""
    post = Post.of_photo(photo)
    run_load(service.port, post, CLIENTS, WARM_UP_SECONDS)
    return undisturbed(lambda: run_load(service.port, post, CLIENTS, LOAD_SECONDS))[0].photos_per_second


def _remove_figures(model: Model, folder: Path, photo: bytes, rate: float, number: int) -> Iterator[Figure]:
    photos = folder / "photos"
    write_photos(photos, photo, number)
    run, _ = undisturbed(lambda: run_command_on(our_command(model), photos))
    name = f"`remove`, {model.name}, {number} photos"
    yield _share(name, run.photos_per_second, rate, 0.9)
    yield _memory("`remove`, its own process, RSS (PSS)", run.rss, run.pss, 80)


def _job_figures(service: Service, folder: Path, photo: bytes, rate: float, number: int) -> Iterator[Figure]:
    photos, client = folder / "job-photos", JobClient(service.port)
    write_photos(photos, photo, number)
    paths = sorted(photos.iterdir())

    def job() -> float:
        run = client.run(paths)
        client.delete(run.link)
        return run.photos_per_second

    yield _share(f"`/jobs`, {number} photos", undisturbed(job)[0], rate, 0.85)
    post = Post.of_photo(photo)
    with Latencies(service.port, post, PAUSE_SECONDS) as idle:
        time.sleep(LOAD_SECONDS)
    with Latencies(service.port, post, PAUSE_SECONDS) as meanwhile:
        job()
    yield _latency(idle, meanwhile)


def _large_figures(service: Service, folder: Path, size: float) -> Iterator[Figure]:
    photos, client = folder / "large-photos", JobClient(service.port)
    number = ceil(size / LARGE_RESULT_BYTES)
    write_photos(photos, _padded(photo_of(LARGE_MEGAPIXELS), ceil(size / number)), number)
    memory = _WebMemory(service)
    with memory.watched():
        run = client.run(sorted(photos.iterdir()), "&full_size=true&format=PNG")
    yield _memory(f"web process, body of {_bytes(run.body_bytes)} comes in, RSS (PSS)", memory.rss, memory.pss, 120)
    memory = _WebMemory(service)
    with memory.watched():
        received = client.download(run.link)
    yield _memory(f"web process, ZIP of {_bytes(received)} goes out, RSS (PSS)", memory.rss, memory.pss, 120)
    client.delete(run.link)


def _padded(photo: bytes, size: int) -> bytes:
    """Return a JPEG with comments, of about this size."""
    return photo[:2] + COMMENT * max(0, round((size - len(photo)) / len(COMMENT))) + photo[2:]


def _rembg_figure(model: Model, folder: Path, photo: bytes, number: int) -> Figure:
    photos = folder / f"{model.name}-photos"
    write_photos(photos, photo, number)
    theirs, ours = (
        undisturbed(partial(run_command_on, command, photos))[0].photos_per_second
        for command in (rembg_command(model), our_command(model))
    )
    name = f"`remove` against `rembg p`, {model.name}, {number} photos"
    return Figure(name, f"{ours:.2f}/s", f"{theirs:.2f}/s", f"{ours / theirs:.2f} ×", "≥ 3 ×", ours >= 3 * theirs)


def _share(name: str, rate: float, engines: float, aim: float) -> Figure:
    share = rate / engines
    return Figure(name, f"{rate:.2f}/s", f"engines {engines:.2f}/s", f"{share:.0%}", f"≥ {aim:.0%}", share >= aim)


def _memory(name: str, rss: int, pss: int, aim: int) -> Figure:
    measured = f"{rss / MEGABYTE:.0f} ({pss / MEGABYTE:.0f}) MB"
    return Figure(name, measured, NONE, NONE, f"< {aim} MB", rss < aim * MEGABYTE)


def _latency(idle: Latencies, meanwhile: Latencies) -> Figure:
    before, during = median(idle.milliseconds), median(meanwhile.milliseconds)
    if before is None or during is None or meanwhile.failures:
        raise ServiceFailed(f"Interactive client: {len(meanwhile.milliseconds)} photos, failed: {meanwhile.failures}")
    ratio = during / before
    compared = f"idle {before:.0f} ms"
    name = "interactive median during a job"
    return Figure(name, f"{during:.0f} ms", compared, f"{ratio:.2f} ×", "≤ 2.5 ×", ratio <= 2.5)


def _bytes(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e8 else f"{count / 1e6:.0f} MB"


class _WebMemory:
    """Maximum memory of the web process."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.rss = self.pss = 0

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Take samples while the block runs."""
        with Watch(self._look, SAMPLE_SECONDS):
            yield

    def _look(self) -> None:
        for process in self._service.memory():
            if process.role == "web worker":
                self.rss, self.pss = max(self.rss, process.rss), max(self.pss, process.pss)


if __name__ == "__main__":
    sys.exit(run_command(main))
