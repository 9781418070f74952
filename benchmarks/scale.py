"""Machines and Redis for photos a day, by simulation with measured costs: `python -m benchmarks.scale LOAD CHECK`.

LOAD is written by `python -m benchmarks.load --clients 4 --json`, CHECK by `python -m benchmarks.scale_check --json`.
`--write` writes the table of docs/scaling.md.
"""

from __future__ import annotations

import argparse
import math
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter

from benchmarks.console import NONE, positive, print_table, run_command
from benchmarks.load import Report as LoadReport
from benchmarks.markdown import markdown_table
from benchmarks.scale_check import Check
from benchmarks.scale_model import DAY, Cluster, Costs, Day, Outcome, percentile, simulate
from benchmarks.sections import write_section
from benchmarks.server import ROOT, ServiceFailed

TEXT, TITLE, LINE = ROOT / "docs/scaling.md", "Simulated days", 120
# Photos in a simulated part of the cluster; about 10 µs each.
MAX_SIMULATED = 100_000
# Share of Redis' CPU beyond which its latency grows: one thread executes all commands.
MAX_REDIS_BUSY = 0.7
# Machines to try, at most, relative to those for the rate of the peak.
MAX_SPARE = 4
GIGABYTE = 1e9
HEADER = (
    "photos a day",
    "a second, mean / peak",
    "machines, web + workers",
    "cores",
    "core-hours a million",
    "engines busy",
    "age of the queue, median / p95 / p99",
    "interactive wait, p95",
    "Redis servers",
    "Redis' CPU",
    "Redis' memory, all",
    "storage, peak",
)


@dataclass(frozen=True, slots=True)
class Inputs:
    """Measured figures of a machine, of a photo, and of Redis."""

    costs: Costs
    cores: int
    engines: int
    photos_per_second: float
    stored_bytes: float
    state_bytes: float

    @property
    def photos_per_core_second(self) -> float:
        """Return the photos that a core does in a second."""
        return self.photos_per_second / self.cores


@dataclass(frozen=True, slots=True)
class Part:
    """Machines of one kind, and the outcome of a share of them with the same share of the photos."""

    machines: int
    outcome: Outcome
    share: float


@dataclass(frozen=True, slots=True)
class Need:
    """Machines for a day's photos.

    One machine does all with the local backend. More are for interactive photos (`web`) or for those of jobs
    (`workers`), in `clusters` with a Redis each; `Part` is of one cluster.
    """

    day: Day
    web: Part
    workers: Part | None = None
    clusters: int = 1

    @property
    def machines(self) -> int:
        """Return the number of all machines."""
        return (self.web.machines + (self.workers.machines if self.workers else 0)) * self.clusters

    @property
    def jobs(self) -> Part:
        """Return the machines that process photos of jobs."""
        return self.workers or self.web


def main() -> int:
    """Simulate, print, write, and return the exit status."""
    arguments = _arguments()
    inputs = _inputs(arguments)
    needs = [_need(_day(photos, arguments), inputs, arguments) for photos in arguments.photos]
    rows = [_row(need, inputs, arguments) for need in needs]
    facts = _facts(inputs, arguments)
    print("\n\n".join(facts))
    print_table(HEADER, rows)
    if arguments.write:
        write_section(TEXT, TITLE, [*_filled(facts), *markdown_table(HEADER, rows)])
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    add = parser.add_argument
    add("load", type=Path, metavar="LOAD", help="figures of benchmarks.load")
    add("check", type=Path, metavar="CHECK", help="figures of benchmarks.scale_check")
    add("--photos", type=positive, nargs="+", default=[1e6, 1e7, 1e8], metavar="N", help="photos a day")
    add("--interactive", type=_share, default=0.1, metavar="SHARE", help="share of interactive photos (default: 0.1)")
    add("--per-job", type=positive, default=100.0, metavar="N", help="mean number of photos of a job (default: 100)")
    add("--peak", type=_peak, default=2.0, metavar="X", help="rate of the busiest hour to the mean, 1-2 (default: 2)")
    add("--spread", type=positive, default=0.5, metavar="X", help="deviation of engine times to their mean")
    add("--max-age", type=positive, default=600.0, metavar="S", help="p95 of a job's photos' wait (default: 600)")
    add("--max-wait", type=positive, default=1.0, metavar="S", help="p95 of interactive photos' wait (default: 1)")
    add("--hours", type=positive, default=6.0, help="simulated hours around the peak (default: 6)")
    add("--ttl-hours", type=positive, default=24.0, help="JOBS_TTL (default: 24)")
    add("--price", type=positive, default=0.04, help="example of a price per core and hour (default: 0.04)")
    add("--write", action="store_true", help="write the table of docs/scaling.md")
    return parser.parse_args()


def _share(text: str) -> float:
    if not 0 <= (share := float(text)) <= 1:
        raise ValueError(text)
    return share


def _peak(text: str) -> float:
    if not 1 <= (peak := float(text)) <= 2:
        raise ValueError(text)
    return peak


def _inputs(arguments: argparse.Namespace) -> Inputs:
    """Return the costs; an engine's time is what it takes while all cores are busy, so that threads share them."""
    load = TypeAdapter(LoadReport).validate_json(arguments.load.read_bytes())
    check = TypeAdapter(Check).validate_json(arguments.check.read_bytes())
    best = max((run.load for run in load.runs), key=lambda run: run.photos_per_second)
    machine = load.machine
    seconds = machine.engines / best.photos_per_second
    return Inputs(
        Costs(seconds, arguments.spread, check.thread_seconds, check.redis_seconds),
        machine.cores,
        machine.engines,
        best.photos_per_second,
        load.photo_bytes + best.answer_bytes,
        check.state_bytes,
    )


def _day(photos: float, arguments: argparse.Namespace) -> Day:
    return Day(photos, arguments.interactive, arguments.per_job, arguments.peak)


def _need(day: Day, inputs: Inputs, arguments: argparse.Namespace) -> Need:
    """Return the least number of machines for which both waits are short enough."""
    if day.photos / DAY * day.peak * inputs.costs.engine < inputs.engines:
        local = _simulated(day, 1, replace(inputs, costs=replace(inputs.costs, redis=0.0)), arguments)
        if _is_enough(local.outcome, arguments):
            return Need(day, local)
    redis_load = day.photos / DAY * day.peak * (1 - day.interactive_share) * inputs.costs.redis
    clusters = max(1, math.ceil(redis_load / MAX_REDIS_BUSY))
    web = replace(day, photos=day.photos / clusters * day.interactive_share, interactive_share=1.0)
    jobs = replace(day, photos=day.photos / clusters * (1 - day.interactive_share), interactive_share=0.0)
    return Need(day, _least(web, inputs, arguments), _least(jobs, inputs, arguments), clusters)


def _least(day: Day, inputs: Inputs, arguments: argparse.Namespace) -> Part:
    engines_load = day.photos / DAY * inputs.costs.engine / inputs.engines
    first = max(1, math.ceil(engines_load * day.peak))
    # Too few: below the mean load; for interactive photos below that of the peak, where their queue only grows.
    few = (first if day.interactive_share else max(1, math.ceil(engines_load))) - 1
    found, many = None, first
    while found is None or many - few > 1:
        machines = many if found is None else (few + many) // 2
        part = _simulated(day, machines, inputs, arguments)
        if _is_enough(part.outcome, arguments):
            found, many = part, machines
        elif found is None:
            if machines > MAX_SPARE * first:
                raise ServiceFailed("No number of machines gives so short waits.")
            few, many = machines, math.ceil(machines * 1.2)
        else:
            few = machines
    return found


def _simulated(day: Day, machines: int, inputs: Inputs, arguments: argparse.Namespace) -> Part:
    """Simulate a share of the machines with their share of the photos: fewer machines have longer waits."""
    expected = day.photos * day.peak * arguments.hours / 24
    simulated = max(1, min(machines, int(machines * MAX_SIMULATED / expected)))
    share = simulated / machines
    cluster, part_day = Cluster(simulated, inputs.engines), replace(day, photos=day.photos * share)
    outcome = simulate(part_day, cluster, inputs.costs, hours=arguments.hours, redis_share=share)
    return Part(machines, outcome, share)


def _is_enough(outcome: Outcome, arguments: argparse.Namespace) -> bool:
    short_age: bool = percentile(outcome.batch, 0.95) <= arguments.max_age
    short_wait: bool = percentile(outcome.interactive, 0.95) <= arguments.max_wait
    return short_age and short_wait


def _row(need: Need, inputs: Inputs, arguments: argparse.Namespace) -> list[str]:
    day, jobs, celery = need.day, need.jobs.outcome, need.workers is not None
    peak = day.photos / DAY * day.peak
    kinds = [part.machines * need.clusters for part in (need.web, need.workers) if part]
    return [
        f"{day.photos / 1e6:g} million",
        f"{day.photos / DAY:.0f} / {peak:.0f}",
        " + ".join(map(str, kinds)),
        str(need.machines * inputs.cores),
        f"{need.machines * inputs.cores * 24 / (day.photos / 1e6):.1f}",
        f"{jobs.busy:.0%}",
        " / ".join(f"{percentile(jobs.batch, share):.1f} s" for share in (0.5, 0.95, 0.99)),
        f"{percentile(need.web.outcome.interactive, 0.95) * 1000:.0f} ms",
        str(need.clusters) if celery else NONE,
        f"{jobs.redis_busy:.0%}" if celery else NONE,
        f"{_redis_bytes(need, inputs, arguments) / GIGABYTE:.1f} GB" if celery else NONE,
        # Written and read once each.
        f"{2 * peak * (1 - day.interactive_share) * inputs.stored_bytes / 1e6:.0f} MB/s",
    ]


def _redis_bytes(need: Need, inputs: Inputs, arguments: argparse.Namespace) -> float:
    """Return the memory of the state of all photos of jobs until they expire, and of those that wait."""
    kept: float = need.day.photos * (1 - need.day.interactive_share) * arguments.ttl_hours / 24
    waiting = need.jobs.outcome.longest_queue / need.jobs.share * need.clusters
    return (kept + waiting) * inputs.state_bytes


def _facts(inputs: Inputs, arguments: argparse.Namespace) -> list[str]:
    costs = inputs.costs
    redis_limit = MAX_REDIS_BUSY / costs.redis * DAY / arguments.peak / (1 - arguments.interactive)
    core_hours = 1e6 / inputs.photos_per_core_second / 3600
    return [
        "Written by `make bench-scale ARGS=--write`.",
        f"Measured: {inputs.cores} cores with {inputs.engines} engines do {inputs.photos_per_second:.1f} photos of 0.7 "
        f"megapixels a second, {inputs.photos_per_core_second:.1f} per core-second, so that one takes "
        f"{costs.engine * 1000:.0f} ms in an engine. A photo of a job also takes {costs.thread * 1000:.1f} ms of a "
        f"worker's thread, {costs.redis * 1000:.2f} ms of Redis' CPU and {inputs.state_bytes:.0f} bytes of its memory.",
        f"Assumed: {arguments.interactive:.0%} interactive photos, jobs of {arguments.per_job:g} photos on average, a "
        f"busiest hour of {arguments.peak:g} times the mean, engine times with a deviation of {arguments.spread:.0%}, "
        f"machines like the measured one, results kept for {arguments.ttl_hours:g} hours. Machines: the least number "
        f"for which 95 % of the photos of jobs wait {arguments.max_age:g} s at most and 95 % of the interactive ones "
        f"{arguments.max_wait:g} s, in the {arguments.hours:g} hours around the peak; one machine with the local "
        "backend if it is enough, else web processes and workers on machines of their own.",
        f"A million photos take {core_hours:.1f} core-hours if all engines are busy, and those in the table if all "
        f"machines run all day. With a price of {arguments.price:g} per core-hour, which is an example, the former "
        f"cost {core_hours * arguments.price:.2f}.",
        f"The first bottleneck after the engines is Redis, which executes all commands in one thread: "
        f"{MAX_REDIS_BUSY:.0%} of its CPU are in use at {redis_limit / 1e6:.0f} million photos a day. The table has "
        f"several clusters with a Redis each beyond that.",
    ]


def _filled(facts: Sequence[str]) -> list[str]:
    lines: list[str] = []
    for fact in facts:
        lines += [*textwrap.wrap(fact, LINE, break_on_hyphens=False), ""]
    return lines


if __name__ == "__main__":
    sys.exit(run_command(main))
