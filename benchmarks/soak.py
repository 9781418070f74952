"""Soak test: load the real service with mixed photos, with MEMORY_PROFILE=low.

`python -m benchmarks.soak`. The exit status is 1 if one of the lines under "Verdict" fails.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from http.client import HTTPException
from pathlib import Path

from app.engine.container import MEGABYTE, cpu_quota
from benchmarks.console import (
    NONE,
    counts,
    load_parser,
    megabytes,
    milliseconds,
    positive,
    print_table,
    run_command,
    write_json,
)
from benchmarks.memory import MemoryFiles
from benchmarks.photos import Photo, make_mix
from benchmarks.server import Service, running_service
from benchmarks.soak_client import Soak, run_soak
from benchmarks.soak_figures import Health, Kind, Memory, Report, Verdict, make_report
from benchmarks.watch import HealthWatch, MemoryWatch, Watch

PROFILE = "low"
SAMPLE_SECONDS = 1.0
SETTLE_SECONDS = 10.0
COLUMNS = (200, 413, 422, 429, 503)
# Smaller files are noise: locks, heartbeats.
SHOWN_BYTES = 4096


def main() -> int:
    """Measure, print, and return the exit status."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        photos = make_mix(Path(folder), arguments.seed)
        files = MemoryFiles()  # after the photos, which don't count even if their folder is in memory
        _print_start(photos, arguments)
        with running_service(MEMORY_PROFILE=PROFILE) as service:
            soak, memory, health = _measure(service, files, photos, arguments)
    report = make_report(soak, memory, health, service.orphans)
    _print_report(report)
    write_json(arguments.json, {"clients": arguments.clients, "seed": arguments.seed, **asdict(report)})
    return 0 if all(verdict.passed for verdict in report.verdicts) else 1


def _arguments() -> argparse.Namespace:
    parser = load_parser("soak", __doc__, clients=16)
    parser.add_argument("--minutes", type=positive, default=10.0, help="length of the load (default: 10)")
    return parser.parse_args()


def _measure(
    service: Service, files: MemoryFiles, photos: Sequence[Photo], arguments: argparse.Namespace
) -> tuple[Soak, MemoryWatch, Health]:
    """Run the load and monitor the service, then wait a moment for it to be healthy again."""
    memory, health = MemoryWatch(service, files), HealthWatch(service)
    with Watch(memory.look, SAMPLE_SECONDS), Watch(health.look, SAMPLE_SECONDS):
        soak = run_soak(service.port, photos, arguments.clients, arguments.minutes * 60, arguments.seed)
    return soak, memory, Health(health.statuses, health.failures, health.slowest_ms, _final_health(service))


def _final_health(service: Service) -> str:
    status, deadline = "", time.monotonic() + SETTLE_SECONDS
    while status != "healthy" and time.monotonic() < deadline:
        try:
            status = str(service.health()["status"])
        except (OSError, HTTPException, ValueError) as error:
            status = type(error).__name__
        time.sleep(SAMPLE_SECONDS)
    return status


def _print_start(photos: Sequence[Photo], arguments: argparse.Namespace) -> None:
    size = sum(photo.path.stat().st_size for photo in photos) / MEGABYTE
    print(
        f"{arguments.clients} clients for {arguments.minutes:g} min on {cpu_quota()} cores, MEMORY_PROFILE={PROFILE}; "
        f"{len(photos)} photos, {size:.0f} MB, seed {arguments.seed}",
        flush=True,
    )


def _print_report(report: Report) -> None:
    _print_kinds(report.kinds)
    _print_answers(report)
    print_memory(report.memory)
    _print_service(report)
    print_verdicts(report.verdicts)


def print_verdicts(verdicts: Sequence[Verdict]) -> None:
    """Print requirements and their results."""
    print("\nVerdict")
    print_table(
        ["requirement", "result", ""],
        [[each.requirement, each.result, "PASS" if each.passed else "FAIL"] for each in verdicts],
    )


def _print_kinds(kinds: Sequence[Kind]) -> None:
    print("\nAnswers to all tries, by kind of photo (median of the 200s in ms; error: no answer)")
    rows = [_kind_row(kind) for kind in kinds]
    print_table(["kind", "photos", *map(str, COLUMNS), "other", "error", "median"], rows)


def _kind_row(kind: Kind) -> list[str]:
    known = [kind.answers.get(str(status), 0) for status in COLUMNS]
    other = sum(kind.answers.values()) - sum(known)
    numbers = [kind.photos, *known, other, kind.transport_errors]
    return [kind.name, *(str(number or NONE) for number in numbers), milliseconds(kind.median_ms)]


def _print_answers(report: Report) -> None:
    answers, retries = report.answers, report.retries
    print(f"\nPhotos and answers in {report.seconds:.0f} s, including the last running photos")
    tries = [[f"JPEGs up to 12 MP, 200 at try {number}", str(each)] for number, each in enumerate(retries.by_try, 1)]
    print_table(
        ["figure", "value"],
        [
            ["photos", str(answers.photos)],
            ["answers", counts(answers.allowed)],
            ["expected errors of damaged photos", counts(answers.expected)],
            ["other answers", counts(answers.unexpected)],
            ["no answer", counts(answers.transport_errors)],
            ["share of 200s", f"{answers.share_of_200:.1%}"],
            ["latency of 200s, median", f"{milliseconds(answers.median_ms)} ms"],
            ["latency of 200s, p95", f"{milliseconds(answers.p95_ms)} ms"],
            ["longest wait before a retry", f"{answers.longest_wait:g} s"],
            ["JPEGs up to 12 MP", str(retries.photos)],
            *tries,
            ["JPEGs up to 12 MP, failed", str(sum(retries.failed.values()))],
        ],
    )
    for failure, count in retries.failed.items():
        print(f"failed: {count} × {failure}")


def print_memory(memory: Memory) -> None:
    """Print the figures of the memory, and what it consists of at its maximum."""
    print(f"\nMemory in MB, sampled every {SAMPLE_SECONDS:g} s: PSS, and files in memory outside of any PSS")
    print_table(
        ["figure", "value"],
        [
            ["maximum", f"{megabytes(memory.peak.bytes)} at {memory.peak_second:.0f} s"],
            [f"mean of {memory.window:g} s after the first {memory.window:g} s", megabytes(memory.early_mean)],
            [f"mean of the last {memory.window:g} s", megabytes(memory.late_mean)],
            ["ratio", f"{memory.ratio:.3f}"],
        ],
    )
    print("\nAt the maximum")
    processes = [[each.role, str(each.pid), megabytes(each.rss), megabytes(each.pss)] for each in memory.peak.processes]
    shown = [file for file in memory.peak.files if file.uncounted >= SHOWN_BYTES]
    files = [[f"file {each.name}", NONE, megabytes(each.bytes), megabytes(each.uncounted)] for each in shown]
    print_table(["process", "pid", "RSS", "PSS"], [*processes, *files])


def _print_service(report: Report) -> None:
    health, pids = report.health, report.engine_pids
    print("\nService")
    print_table(
        ["figure", "value"],
        [
            ["/health polls", counts(health.statuses)],
            ["/health slowest", f"{health.slowest_ms:.1f} ms"],
            ["/health failures", counts(health.failures)],
            ["/health at the end", health.final],
            ["engines seen", str(len(pids))],
            ["orphans", str(len(report.orphans))],
        ],
    )
    print(f"engine pids: {' '.join(map(str, pids))}")
    for orphan in report.orphans:
        print(f"orphan: {orphan}")


if __name__ == "__main__":
    sys.exit(run_command(main))
