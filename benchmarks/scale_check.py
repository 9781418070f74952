"""Compare the simulation with real Celery workers whose engines sleep: `python -m benchmarks.scale_check`.

A sleeping engine uses no core, so that the number of cores does not matter. The exit status is 1 if a simulated rate
differs from the measured one by more than 15 %.
"""

from __future__ import annotations

import argparse
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from redis import Redis
from redis.exceptions import RedisError

from app.jobs.celery_backend import CeleryBackend, open_files
from app.jobs.celery_queue import build_celery
from app.jobs.model import Job, NewItem, NewJob, Variant
from app.jobs.names import with_bases
from app.jobs.redis_store import RedisJobStore
from app.settings import Settings, load_settings
from benchmarks.console import at_least_one, positive, print_table, run_command, write_json
from benchmarks.photos import sample_photo
from benchmarks.scale_model import Cluster, Costs, simulate_backlog
from benchmarks.scale_worker import SLEEP_SECONDS
from benchmarks.server import HOST, ROOT, ServiceFailed, free_port, running_process

__all__ = ["Check", "Trial"]

MAX_DEVIATION = 0.15
# Seconds to wait for the start of a program, and for each photo of a job, at most; interval of looks.
START_SECONDS, PHOTO_SECONDS, POLL_SECONDS = 60.0, 5.0, 0.1
# Photos of each worker in the run that measures the time of a thread.
ALONE_PHOTOS = 50
HEADER = ("workers", "engines", "photos", "measured /s", "simulated /s", "difference")


@dataclass(frozen=True, slots=True)
class Trial:
    """A real run and its simulation, in seconds from the job's acceptance to its end."""

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
    """Costs of a photo besides its engine time, in seconds and bytes, and the trials."""

    engine_seconds: float
    thread_seconds: float
    redis_seconds: float
    state_bytes: float
    trials: list[Trial] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Measured:
    """A run: seconds of the job, CPU seconds of Redis, and bytes of its keys."""

    seconds: float
    redis_seconds: float
    redis_bytes: int


def main() -> int:
    """Measure, simulate, print, and return the exit status."""
    arguments = _arguments()
    with TemporaryDirectory() as folder, _redis(Path(folder)) as url:
        settings = _settings(Path(folder), url, arguments.engines)
        alone = _run(settings, 1, ALONE_PHOTOS, 0.0, threads=1)
        thread = alone.seconds / ALONE_PHOTOS
        trials, costs = list[Trial](), Costs(arguments.engine_seconds, 0.0, thread, 0.0)
        for workers in arguments.workers:
            photos = arguments.photos * workers
            measured = _run(settings, workers, photos, arguments.engine_seconds)
            costs = Costs(costs.engine, 0.0, thread, measured.redis_seconds / photos)
            simulated = simulate_backlog(photos, Cluster(workers, arguments.engines), costs).seconds
            trials.append(Trial(workers, arguments.engines, photos, measured.seconds, simulated))
    check = Check(costs.engine, thread, costs.redis, measured.redis_bytes / photos, trials)
    _print(check)
    write_json(arguments.json, asdict(check))
    return 0 if all(abs(trial.deviation) <= MAX_DEVIATION for trial in trials) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale_check", description=__doc__)
    add = parser.add_argument
    add("--photos", type=at_least_one, default=150, help="photos of a job, per worker (default: 150)")
    add("--workers", type=at_least_one, nargs="+", default=[1, 2, 4], help="worker processes (default: 1 2 4)")
    add("--engines", type=at_least_one, default=2, help="engines of a worker (default: 2)")
    add("--engine-seconds", type=positive, default=0.2, metavar="S", help="time in an engine (default: 0.2)")
    add("--json", type=Path, metavar="FILE", help="file for the figures")
    return parser.parse_args()


@contextmanager
def _redis(folder: Path) -> Iterator[str]:
    """Run a Redis with an append-only file, as in deploy/, and return its URL."""
    port = free_port()
    command = ["redis-server", "--bind", HOST, "--port", str(port), "--dir", str(folder), "--appendonly", "yes"]
    with running_process([*command, "--save", ""], folder, {}, []):
        client = Redis(host=HOST, port=port)
        _wait(lambda: _answers(client), "Redis does not start.")
        yield f"redis://{HOST}:{port}/0"


def _answers(client: Redis) -> bool:
    try:
        return bool(client.ping())
    except RedisError:
        return False


def _settings(folder: Path, url: str, engines: int) -> Settings:
    own = {"jobs_backend": "celery", "redis_url": url, "jobs_storage": (folder / "files").as_uri()}
    return load_settings(None, **own, engine_processes=engines)


def _run(settings: Settings, workers: int, photos: int, seconds: float, threads: int | None = None) -> Measured:
    """Return the figures of a job on so many workers; `threads` of each, by its engines if None."""
    redis = Redis.from_url(settings.redis_url.get_secret_value())
    redis.flushall()
    with ExitStack() as stack:
        for number in range(workers):
            stack.enter_context(_worker(settings, number, seconds, threads))
        store = stack.enter_context(closing(RedisJobStore(settings.redis_url.get_secret_value(), settings.jobs_ttl)))
        backend = CeleryBackend(store, build_celery(settings))
        stack.callback(backend.stop)
        backend.start()
        _wait(lambda: store.queue_state(time.time()).workers == workers, "The workers do not start.")
        new, before = _new_job(settings, photos), redis.info()
        backend.submit(store.add(new))
        waiting_bytes = _bytes_of_keys(redis)
        _wait(lambda: _job(store, new.id).ended is not None, "The job does not end.", photos * PHOTO_SECONDS)
        job, after, ended_bytes = _job(store, new.id), redis.info(), _bytes_of_keys(redis)
    if job.counts.done != photos or job.ended is None:
        raise ServiceFailed(f"Job with {job.counts}")
    cpu = sum(after[f"used_cpu_{kind}"] - before[f"used_cpu_{kind}"] for kind in ("user", "sys"))
    return Measured(job.ended - job.created, cpu, max(waiting_bytes, ended_bytes))


def _bytes_of_keys(redis: Redis) -> int:
    """Return the memory of all keys; that of the server varies with its buffers."""
    return sum(int(redis.memory_usage(key, samples=0) or 0) for key in redis.scan_iter(count=1000))


def _new_job(settings: Settings, photos: int) -> NewJob:
    """Store the photos of a job and return it."""
    files, photo, job_id = open_files(settings.jobs_storage or ""), sample_photo(), uuid.uuid4().hex
    items = [NewItem(f"photo-{number}.jpg", key=f"{job_id}/in-{number}") for number in range(1, photos + 1)]
    for item in items:
        with files.create(item.key) as file:
            file.write(photo)
    return NewJob(job_id, "", (Variant("", {"format": "PNG"}),), tuple(with_bases(items)))


def _job(store: RedisJobStore, job_id: str) -> Job:
    job = store.job(job_id)
    assert job is not None  # noqa: S101  # kept for JOBS_TTL
    return job


def _wait(fulfilled: Callable[[], bool], problem: str, seconds: float = START_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not fulfilled():
        if time.monotonic() > deadline:
            raise ServiceFailed(problem)
        time.sleep(POLL_SECONDS)


@contextmanager
def _worker(settings: Settings, number: int, seconds: float, threads: int | None) -> Iterator[None]:
    command = [sys.executable, "-m", "celery", "-A", "benchmarks.scale_worker", "worker", "-n", f"worker-{number}@%h"]
    if threads is not None:
        command += ["--concurrency", str(threads)]
    with running_process(command, ROOT, _environment(settings) | {SLEEP_SECONDS: str(seconds)}, []):
        yield


def _environment(settings: Settings) -> dict[str, str]:
    return {
        "JOBS_BACKEND": "celery",
        "REDIS_URL": settings.redis_url.get_secret_value(),
        "JOBS_STORAGE": str(settings.jobs_storage),
        "MODEL_NAME": "lite",
        "ENGINE_PROCESSES": str(settings.engine_processes),
        "LOG_LEVEL": "WARNING",
        "PYTHONWARNINGS": "ignore::UserWarning",  # Celery warns of the user root
    }


def _print(check: Check) -> None:
    print(
        f"Besides its engine time a photo takes {check.thread_seconds * 1000:.1f} ms of a thread, "
        f"{check.redis_seconds * 1000:.2f} ms of Redis' CPU and {check.state_bytes:.0f} bytes of its memory."
    )
    print_table(HEADER, [_row(trial) for trial in check.trials])


def _row(trial: Trial) -> list[str]:
    rates = [f"{trial.photos / seconds:.1f}" for seconds in (trial.measured, trial.simulated)]
    return [*map(str, (trial.workers, trial.engines, trial.photos)), *rates, f"{trial.deviation:+.1%}"]


if __name__ == "__main__":
    sys.exit(run_command(main))
