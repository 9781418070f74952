"""Figures of a soak test, from its clients and monitors, and their requirements."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from app.engine.container import MEGABYTE
from benchmarks.client import median, p95
from benchmarks.console import counts, megabytes
from benchmarks.soak_client import TRIES, Outcome, Soak
from benchmarks.watch import MemorySample, MemoryWatch

__all__ = [
    "Answers",
    "Health",
    "Kind",
    "Memory",
    "Report",
    "Retries",
    "Verdict",
    "make_report",
    "memory_of",
    "memory_verdicts",
    "orphan_verdict",
    "tally",
]

# The second minute is compared with the last; a run of less than three minutes is divided into thirds.
WINDOW_SECONDS = 60.0
ALLOWED = (200, 413, 429, 503)
MIN_SHARE = 0.6
MAX_MEGABYTES = 512
MAX_DRIFT = 0.1


@dataclass(frozen=True, slots=True)
class Kind:
    """Photos of one kind: the answers to all tries, and the median time of the 200s."""

    name: str
    photos: int
    answers: dict[str, int]
    transport_errors: int
    median_ms: float | None


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers to all tries: `allowed` ones, `expected` errors of damaged photos, and `unexpected` ones."""

    photos: int
    allowed: dict[str, int]
    expected: dict[str, int]
    unexpected: dict[str, int]
    transport_errors: dict[str, int]
    share_of_200: float
    median_ms: float | None
    p95_ms: float | None
    longest_wait: float


@dataclass(frozen=True, slots=True)
class Retries:
    """Ordinary JPEGs, by the number of tries until their 200."""

    photos: int
    by_try: list[int]
    failed: dict[str, int]


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of the service, in bytes; means are over `window` seconds."""

    window: float
    early_mean: float
    late_mean: float
    ratio: float
    peak: MemorySample
    peak_second: float
    timeline: list[tuple[float, int]]


@dataclass(frozen=True, slots=True)
class Health:
    """Answers of /health during the load, and afterwards."""

    statuses: dict[str, int]
    failures: dict[str, int]
    slowest_ms: float
    final: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """One requirement and its result."""

    requirement: str
    result: str
    passed: bool


@dataclass(frozen=True, slots=True)
class Report:
    """All figures of a soak test."""

    seconds: float
    kinds: list[Kind]
    answers: Answers
    retries: Retries
    memory: Memory
    health: Health
    engine_pids: list[int]
    orphans: list[str]
    verdicts: list[Verdict]


def make_report(soak: Soak, watch: MemoryWatch, health: Health, orphans: list[str]) -> Report:
    """Return all figures of a run whose service has ended."""
    answers, retries, memory = _answers(soak.outcomes), _retries(soak.outcomes), memory_of(soak, watch, WINDOW_SECONDS)
    processes = [process for sample in watch.samples for process in sample.processes]
    return Report(
        seconds=soak.until_idle,
        kinds=_kinds(soak),
        answers=answers,
        retries=retries,
        memory=memory,
        health=health,
        engine_pids=list(dict.fromkeys(process.pid for process in processes if process.role == "engine")),
        orphans=orphans,
        verdicts=[*_verdicts_on_answers(answers, retries), *_verdicts_on_service(memory, health, orphans)],
    )


def _kinds(soak: Soak) -> list[Kind]:
    names = dict.fromkeys(photo.kind for photo in soak.photos)
    return [_kind(name, [outcome for outcome in soak.outcomes if outcome.photo.kind == name]) for name in names]


def _kind(name: str, outcomes: Sequence[Outcome]) -> Kind:
    return Kind(
        name=name,
        photos=len(outcomes),
        answers=tally(status for outcome in outcomes for status in outcome.statuses if status),
        transport_errors=sum(len(outcome.transport_errors) for outcome in outcomes),
        median_ms=median([outcome.latency_ms for outcome in outcomes if outcome.succeeded]),
    )


def _answers(outcomes: Sequence[Outcome]) -> Answers:
    answers = [(outcome.photo, status) for outcome in outcomes for status in outcome.statuses if status]
    others = [(photo, status) for photo, status in answers if status not in ALLOWED]
    allowed = [status for _, status in answers if status in ALLOWED]
    latencies = [outcome.latency_ms for outcome in outcomes if outcome.succeeded]
    expected = [status for photo, status in others if status == photo.refusal]
    judged = len(answers) - len(expected)
    return Answers(
        photos=len(outcomes),
        allowed=tally(allowed),
        expected=tally(expected),
        unexpected=tally(status for photo, status in others if status != photo.refusal),
        transport_errors=tally(error for outcome in outcomes for error in outcome.transport_errors),
        share_of_200=allowed.count(200) / judged if judged else 0.0,
        median_ms=median(latencies),
        p95_ms=p95(latencies),
        longest_wait=max((wait for outcome in outcomes for wait in outcome.waits), default=0.0),
    )


def _retries(outcomes: Sequence[Outcome]) -> Retries:
    ordinary = [outcome for outcome in outcomes if outcome.photo.must_succeed]
    tries = Counter(len(outcome.statuses) for outcome in ordinary if outcome.succeeded)
    return Retries(
        photos=len(ordinary),
        by_try=[tries[number] for number in range(1, TRIES + 1)],
        failed=tally(
            f"{outcome.photo.kind}: {', '.join(str(status or 'no answer') for status in outcome.statuses)}"
            for outcome in ordinary
            if not outcome.succeeded
        ),
    )


def memory_of(soak: Soak, watch: MemoryWatch, window: float) -> Memory:
    """Return the memory of a run, with means over `window` seconds: the second window and the last one."""
    timeline = [(sample.at - soak.started, sample.bytes) for sample in watch.samples]
    window = min(window, soak.seconds / 3)
    early, late = _mean(timeline, window, 2 * window), _mean(timeline, soak.seconds - window, soak.seconds)
    return Memory(
        window=window,
        early_mean=early,
        late_mean=late,
        ratio=late / early,
        peak=watch.peak,
        peak_second=watch.peak.at - soak.started,
        timeline=[(round(second, 1), held) for second, held in timeline],
    )


def _mean(timeline: Sequence[tuple[float, int]], start: float, end: float) -> float:
    held = [each for second, each in timeline if start <= second < end]
    return statistics.fmean(held) if held else float("nan")


def tally(names: Iterable[object]) -> dict[str, int]:
    """Count names."""
    return dict(Counter(map(str, names)))


def _verdicts_on_answers(answers: Answers, retries: Retries) -> list[Verdict]:
    return [
        Verdict(f"200s >= {MIN_SHARE:.0%}", f"{answers.share_of_200:.1%}", answers.share_of_200 >= MIN_SHARE),
        Verdict(
            f"every answer one of {', '.join(map(str, ALLOWED))}",
            f"others: {counts(answers.unexpected)}",
            not answers.unexpected,
        ),
        Verdict("an answer to every try", f"missing: {counts(answers.transport_errors)}", not answers.transport_errors),
        Verdict(
            f"every JPEG up to 12 MP within {TRIES} tries",
            f"{sum(retries.failed.values())} of {retries.photos} failed",
            retries.photos > 0 and not retries.failed,
        ),
    ]


def _verdicts_on_service(memory: Memory, health: Health, orphans: list[str]) -> list[Verdict]:
    return [
        *memory_verdicts(memory),
        Verdict(
            "/health answers 200 or 503 in time",
            f"otherwise: {counts(health.failures)}",
            bool(health.statuses) and not health.failures,
        ),
        Verdict("/health works at the end", health.final, health.final in ("healthy", "degraded")),
        orphan_verdict(orphans),
    ]


def memory_verdicts(memory: Memory) -> list[Verdict]:
    """Return the requirements of the low profile."""
    peak = memory.peak.bytes
    return [
        Verdict(f"memory <= {MAX_MEGABYTES} MB", f"{megabytes(peak)} MB", peak <= MAX_MEGABYTES * MEGABYTE),
        Verdict(f"memory stays within {MAX_DRIFT:.0%}", f"{memory.ratio - 1:+.1%}", abs(memory.ratio - 1) <= MAX_DRIFT),
    ]


def orphan_verdict(orphans: list[str]) -> Verdict:
    """Return whether a process outlived the service."""
    return Verdict("no orphans", f"{len(orphans)}", not orphans)
