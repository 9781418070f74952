"""Runs of the side-by-side benchmark: servers alternately, engines and threads, cold starts."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException

from app.engine.container import cpu_quota
from benchmarks.client import ANSWER_SECONDS, Load, Post, ask, run_load
from benchmarks.contenders import Contender, Model, our_server
from benchmarks.figures import Cell, ColdStart, Layout
from benchmarks.server import HOST, NO_LIMITS, ROOT, Service, ServiceFailed, free_port, running_process
from benchmarks.steal import undisturbed
from benchmarks.watch import MemoryWatch, Watch

__all__ = ["Plan", "Result", "layouts", "make_run", "server_runs"]

WARM_UP_SECONDS = 2.0
# A sample costs some 7 ms of one core.
SAMPLE_SECONDS = 0.5
RETRY_SECONDS = 0.01


Result = Cell | ColdStart | Layout


@dataclass(frozen=True, slots=True)
class Plan:
    """Photos, numbers of clients, and seconds per run."""

    photos: Mapping[str, bytes]
    clients: Sequence[int]
    seconds: float


def server_runs(plan: Plan, contender: Contender, model: Model, photo: str, round: int) -> Iterator[Cell | ColdStart]:
    """Start a server and measure it with ever more clients, so that no run inherits memory of a larger one."""
    post = contender.post(plan.photos[photo], model)
    with contender.running(model) as service:
        seconds = _first_answer(service.port, post, service.started)
        yield ColdStart(round, contender.name, model.name, photo, seconds)
        for clients in sorted(plan.clients):
            yield Cell(round, contender.name, model.name, photo, *_measure(service, post, clients, plan.seconds))


def layouts(plan: Plan, model: Model, photo: str, round: int) -> Iterator[Layout]:
    """Measure our service with one engine of one thread, one engine on all cores, and one engine per core."""
    cores = cpu_quota()
    for engines, threads in dict.fromkeys([(1, 1), (1, cores), (cores, 1)]):
        contender = our_server({"ENGINE_PROCESSES": str(engines), "ENGINE_THREADS": str(threads)})
        for result in server_runs(plan, contender, model, photo, round):
            if isinstance(result, Cell):
                yield Layout(engines, threads, result)


def make_run(plan: Plan, model: Model, photo: str, round: int) -> ColdStart:
    """Measure `make run` on an installed tree, from the command to the first result."""
    port, orphans, post = free_port(), list[str](), our_server({}).post(plan.photos[photo], model)
    environment = {**NO_LIMITS, **model.ours, "HOST": HOST, "PORT": str(port), "LOG_LEVEL": "WARNING"}
    started = time.monotonic()
    # No installation here, whatever the age of the requirements.
    command = ["make", "--silent", "--old-file=.venv/.runtime", "run"]
    with running_process(command, ROOT, environment, orphans):
        return ColdStart(round, "make run", model.name, photo, _first_answer(port, post, started))


def _measure(service: Service, post: Post, clients: int, seconds: float) -> tuple[Load, float | None, int, float]:
    """Warm up; return the load, the server's CPU ms per photo, its peak memory, and the stolen share of the time."""
    run_load(service.port, post, clients, min(WARM_UP_SECONDS, seconds))
    memory = MemoryWatch(service)

    def run() -> tuple[Load, float]:
        before = service.cpu_seconds()
        return run_load(service.port, post, clients, seconds), service.cpu_seconds() - before

    with Watch(memory.look, SAMPLE_SECONDS):
        (load, spent), stolen = undisturbed(run)
    return load, spent * 1000 / load.photos if load.photos else None, memory.peak.bytes, stolen


def _first_answer(port: int, post: Post, started: float) -> float:
    """Post until a result arrives; return the seconds since `started`. Raise ServiceFailed without a result."""
    status = 503
    while status == 503 and time.monotonic() < started + ANSWER_SECONDS:
        connection = HTTPConnection(HOST, port, timeout=ANSWER_SECONDS)
        with suppress(OSError, HTTPException), closing(connection):
            status = ask(connection, post).status
            if status == 200:
                return time.monotonic() - started
        time.sleep(RETRY_SECONDS)
    raise ServiceFailed(f"No result after the start: {status}")
