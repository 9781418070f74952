"""Hostile test: 1,000 hostile connections, expensive requests and kills of engines, beside honest clients.

`python -m benchmarks.hostile`. MEMORY_PROFILE=low, 256 file descriptors. The honest clients also run before and after
the attack, for a twelfth of the time each, at most a minute. The exit status is 1 if one of the lines under "Verdict"
fails.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.attack_inputs import make_requests
from benchmarks.attackers import Tally, attackers
from benchmarks.client import median
from benchmarks.console import counts, load_parser, milliseconds, positive, print_table, run_command, write_json
from benchmarks.memory import MemoryFiles
from benchmarks.photos import Photo, make_mix
from benchmarks.server import Service, running_service
from benchmarks.soak import PROFILE, SAMPLE_SECONDS, print_memory, print_verdicts
from benchmarks.soak_client import TRIES, Outcome, Soak, run_soak
from benchmarks.soak_figures import Memory, Verdict, memory_of, memory_verdicts, orphan_verdict, tally
from benchmarks.watch import HealthWatch, MemoryWatch, Watch

FILES = 256
# The time before and after the attack: a share of the whole, at most some seconds. Their second halves are compared.
QUIET_SHARE, MAX_QUIET_SECONDS = 12, 60.0
MIN_SHARE = 0.95
MAX_HEALTH_MS = 2000
LASTING = ["gunicorn master", "web worker"]


@dataclass(frozen=True, slots=True)
class Phase:
    """Photos of the honest clients in a period; `succeeded` at any try, `first_tries` at the first one."""

    name: str
    seconds: float
    photos: int
    succeeded: int
    first_tries: int
    failures: dict[str, int]
    median_ms: float | None


def main() -> int:
    """Attack, print, and return the exit status."""
    arguments = _arguments()
    quiet = min(arguments.seconds / QUIET_SHARE, MAX_QUIET_SECONDS)
    with tempfile.TemporaryDirectory(prefix="hostile-") as folder:
        photos = [photo for photo in make_mix(Path(folder), arguments.seed) if photo.must_succeed]
        files = MemoryFiles()
        with _few_files(), running_service(MEMORY_PROFILE=PROFILE) as service:
            watch, health = MemoryWatch(service, files), HealthWatch(service)
            with Watch(watch.look, SAMPLE_SECONDS), Watch(health.look, SAMPLE_SECONDS):
                soak, attack, attacks = _run(service, photos, arguments, quiet)
    phases, memory = _phases(soak, attack), memory_of(soak, watch, quiet / 2)
    verdicts = _verdicts(phases[1], health, watch, memory, attacks, service.orphans)
    _print_report(phases, attacks, memory, verdicts)
    write_json(
        arguments.json,
        {"phases": [*map(asdict, phases)], "attacks": attacks, "verdicts": [*map(asdict, verdicts)]},
    )
    return 0 if all(verdict.passed for verdict in verdicts) else 1


def _arguments() -> argparse.Namespace:
    parser = load_parser("hostile", __doc__, clients=8)
    parser.add_argument("--seconds", type=positive, default=600.0, help="length of the test (default: 600)")
    return parser.parse_args()


@contextmanager
def _few_files() -> Iterator[None]:
    """Let processes that start in the block inherit a limit of FILES file descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _run(
    service: Service, photos: Sequence[Photo], arguments: argparse.Namespace, quiet: float
) -> tuple[Soak, list[float], Tally]:
    """Run the honest clients all the time and the attack in between; return also its start and end."""
    with ThreadPoolExecutor(1, "attack") as executor:
        attack = executor.submit(_attack, service, arguments.seconds - 2 * quiet, arguments.seed, quiet)
        soak = run_soak(service.port, photos, arguments.clients, arguments.seconds, arguments.seed)
        return soak, *attack.result()


def _attack(service: Service, seconds: float, seed: int, delay: float) -> tuple[list[float], Tally]:
    time.sleep(delay)
    started = time.monotonic()
    with attackers(service.port, service.pid, seed) as attacks:
        time.sleep(seconds)
        ended = time.monotonic()
    return [started, ended], attacks


def _phases(soak: Soak, attack: Sequence[float]) -> list[Phase]:
    started, ended = attack
    until = soak.started + soak.seconds
    return [
        _phase("before", soak.outcomes, soak.started, started),
        _phase("attack", soak.outcomes, started, ended),
        _phase("after", soak.outcomes, ended, until),
    ]


def _phase(name: str, outcomes: Sequence[Outcome], started: float, ended: float) -> Phase:
    """Return the figures of the photos that were posted in a period."""
    own = [outcome for outcome in outcomes if started <= outcome.posted < ended]
    return Phase(
        name=name,
        seconds=ended - started,
        photos=len(own),
        succeeded=sum(outcome.succeeded for outcome in own),
        first_tries=sum(outcome.statuses[0] == 200 for outcome in own),
        failures=tally(
            ", ".join([*(str(status) for status in outcome.statuses if status), *outcome.transport_errors])
            for outcome in own
            if not outcome.succeeded
        ),
        median_ms=median([outcome.latency_ms for outcome in own if outcome.succeeded]),
    )


def _verdicts(
    attack: Phase, health: HealthWatch, watch: MemoryWatch, memory: Memory, attacks: Tally, orphans: list[str]
) -> list[Verdict]:
    share = attack.succeeded / attack.photos if attack.photos else 0.0
    slowest = f"{milliseconds(health.slowest_ms)} ms, otherwise: {counts(health.failures)}"
    return [
        Verdict(f"honest photos answered 200 >= {MIN_SHARE:.0%}", f"{share:.1%}", share >= MIN_SHARE),
        Verdict(
            f"/health answers within {MAX_HEALTH_MS} ms",
            slowest,
            bool(health.statuses) and not health.failures and health.slowest_ms <= MAX_HEALTH_MS,
        ),
        _restart_verdict(watch),
        _status_verdict(attacks),
        *memory_verdicts(memory),
        orphan_verdict(orphans),
    ]


def _restart_verdict(watch: MemoryWatch) -> Verdict:
    processes = {(each.role, each.pid) for sample in watch.samples for each in sample.processes}
    seen = sorted(role for role, _ in processes if role in LASTING)
    return Verdict("no restart of worker or master", f"processes: {len(seen)}", seen == sorted(LASTING))


def _status_verdict(attacks: Tally) -> Verdict:
    """Allow a 500 only where an engine may have been killed twice."""
    engines = {request.name for request in make_requests() if request.uses_engine}
    failed = {name: outcomes["500"] for name, outcomes in attacks.items() if "500" in outcomes and name not in engines}
    return Verdict("no 500 for requests without an engine", counts(failed), not failed)


def _print_report(phases: Sequence[Phase], attacks: Tally, memory: Memory, verdicts: Sequence[Verdict]) -> None:
    print(f"\nHonest photos, JPEGs up to 12 MP, with up to {TRIES} tries as told by Retry-After")
    print_table(
        ["phase", "photos", "per second", "200", "200 at once", "median"], [_phase_row(each) for each in phases]
    )
    for phase in phases:
        for failure, count in phase.failures.items():
            print(f"failed, {phase.name}: {count} × {failure}")
    print("\nAnswers to attackers")
    print_table(["request", "outcomes"], [[name, counts(outcomes)] for name, outcomes in sorted(attacks.items())])
    print_memory(memory)
    print_verdicts(verdicts)


def _phase_row(phase: Phase) -> list[str]:
    numbers = (phase.succeeded, phase.first_tries)
    rate = f"{phase.photos / phase.seconds:.1f}"
    return [phase.name, str(phase.photos), rate, *map(str, numbers), milliseconds(phase.median_ms)]


if __name__ == "__main__":
    sys.exit(run_command(main))
