"""State of jobs in Redis, shared by web processes and Celery workers.

Every change is one script (app.jobs.redis_scripts). Keys of a job: a hash of its own fields, a hash of its items, the
numbers of the items that wait, the versions of the changed ones. Keys of all jobs: unfinished jobs, turns of owners and
jobs, running items with the last report of their worker, expiries, due webhooks, workers. Every key has a time to live
longer than the life of any job, so that nothing stays if nobody sweeps.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar, cast

from redis import Redis
from redis.exceptions import RedisError

from app.jobs import redis_scripts as scripts
from app.jobs.alarm import Alarm
from app.jobs.encoding import dump_error, dump_outputs, dump_variants, load_error, load_outputs, load_variants
from app.jobs.errors import JobsUnavailable
from app.jobs.model import Counts, Delivery, Item, ItemError, ItemState, Job, JobState, NewItem, NewJob, Output
from app.jobs.redis_scripts import PREFIX
from app.jobs.store import QueueState, Task, unfinished_seconds
from app.redis_link import CLIENT_OPTIONS, PROBE_LIFE, Circuit, CircuitOpen
from app.urls import plain_redis_url

__all__ = ["LOST_SECONDS", "Claim", "RedisJobStore"]

T = TypeVar("T")
DAY = 86_400.0
# Maximum seconds for one answer and for one command, and items of a job that take another second.
SOCKET_SECONDS, MAX_WAIT, ITEMS_PER_SECOND = 1.0, 2.0, 10_000
# Seconds after which a worker that does not report counts as lost, and its photos are given to others.
LOST_SECONDS = 20.0
# Expired jobs of one sweep.
PAGE = 1000
# Share of Redis' maxmemory up to which jobs are accepted: the rest is for their outcomes, and for deletions.
MAX_MEMORY_SHARE = 0.9


@dataclass(frozen=True, slots=True)
class Claim:
    """A photo for a worker, and the number of workers that were lost with it before."""

    task: Task
    losses: int


class RedisJobStore:
    """JobStore in Redis; `ttl` is in seconds from the end of a job to its expiry."""

    def __init__(self, url: str, ttl: float, clock: Callable[[], float] = time.time) -> None:
        options = CLIENT_OPTIONS | {"socket_timeout": SOCKET_SECONDS, "decode_responses": True}
        self._redis: Any = Redis.from_url(plain_redis_url(url), **options)  # its types are those of bytes
        self._ttl = ttl
        self._unfinished = unfinished_seconds(ttl)
        self._live_ms = int((self._unfinished + ttl + DAY) * 1000)
        self._clock = clock
        self._memory = Alarm("memory of Redis")
        register = self._redis.register_script
        self._add, self._delete, self._claim = map(register, (scripts.ADD, scripts.DELETE, scripts.CLAIM))
        self._finish, self._release = register(scripts.FINISH), register(scripts.RELEASE)
        self._queue_state = register(scripts.QUEUE_STATE)
        self._take_delivery, self._end_delivery = register(scripts.TAKE_DELIVERY), register(scripts.END_DELIVERY)
        self._circuit = Circuit("jobs", self._redis, self._probe, RedisError)

    # JobStore

    def add(self, job: NewJob) -> Job:
        """Store a job; of an idempotency key that its client has used, return the earlier job instead."""
        if self._memory.problem:
            raise JobsUnavailable()
        now = self._clock()
        repeated = _hash(job.client, job.idempotency_key) if job.idempotency_key else ""
        times = (now, self._live_ms, now + self._unfinished, now + self._ttl)
        fields = [text for field in _fields(job, repeated).items() for text in field]
        items = [text for item in job.items for text in (_unchanging(item), dump_error(item.error))]
        arguments: tuple[Any, ...] = (job.id, repeated, *times, len(fields), *fields, *items)
        stored = self.job(self._call(lambda: self._add(args=arguments), len(job.items)))
        if stored is None:  # another request has deleted it in between
            raise JobsUnavailable()
        return stored

    def job(self, job_id: str) -> Job | None:
        """Return a job, None for an unknown or deleted one."""
        fields = self._call(lambda: self._redis.hgetall(f"{PREFIX}job:{job_id}"))
        return _job(job_id, fields) if fields else None

    def jobs_of(self, owner: str) -> Sequence[Job]:
        """Return the jobs of an API key, the newest first."""
        ids = self._call(lambda: self._redis.zrange(f"{PREFIX}owner:{owner}", 0, -1, desc=True))
        found = self._call(lambda: self._hashes(f"{PREFIX}job:{job_id}" for job_id in ids))
        return [_job(job_id, fields) for job_id, fields in zip(ids, found, strict=True) if fields]

    def items(self, job_id: str, changed_after: int = -1) -> Sequence[Item]:
        """Return the items of a job in order, or those changed after a version of the job."""
        key, after = f"{PREFIX}versions:{job_id}", f"({changed_after}"
        changed = self._call(lambda: self._redis.zrange(key, after, "+inf", byscore=True, withscores=True))
        versions = {int(number): int(version) for number, version in changed}
        if changed_after >= 0:
            return self._some_items(job_id, sorted(versions), versions)
        number_of_fields = self._call(lambda: self._redis.hlen(f"{PREFIX}items:{job_id}"))
        fields = self._call(lambda: self._redis.hgetall(f"{PREFIX}items:{job_id}"), number_of_fields)
        numbers = sorted(int(name) for name in fields if name.isdigit())
        return [_item(number, fields, versions.get(number, 0)) for number in numbers]

    def item(self, job_id: str, number: int) -> Item | None:
        """Return one item."""
        version = self._call(lambda: self._redis.zscore(f"{PREFIX}versions:{job_id}", number))
        found = self._some_items(job_id, [number], {number: int(version or 0)})
        return found[0] if found else None

    def finish(self, job_id: str, number: int, outputs: Sequence[Output], error: ItemError | None) -> bool:
        """Store the outcome of an item; return False if it has one already, or if the job is deleted."""
        now, state = self._clock(), ItemState.FAILED if error else ItemState.DONE
        outcome = (state.value, dump_error(error), dump_outputs(outputs))
        return bool(self._run(self._finish, job_id, number, now, self._live_ms, *outcome, now + self._ttl))

    def release(self, job_id: str, number: int) -> None:
        """Queue a running item again; the attempt does not count."""
        self._run(self._release, job_id, number, self._live_ms)

    def delete(self, job_id: str) -> bool:
        """Delete a job with its items; return whether it existed."""
        return bool(self._run(self._delete, job_id))

    def expired(self, now: float) -> Sequence[str]:
        """Return the ids of the jobs to delete, a limited number at once."""
        key = f"{PREFIX}expiry"
        found = self._call(lambda: self._redis.zrange(key, "-inf", now, byscore=True, offset=0, num=PAGE))
        return cast("list[str]", found)

    def take_delivery(self, now: float, lease_seconds: float) -> Delivery | None:
        """Return a webhook that is due and reserve it for some seconds, None for none."""
        found = self._run(self._take_delivery, now, now + lease_seconds)
        return Delivery(found[0], found[1], int(found[2])) if found else None

    def end_delivery(self, job_id: str, next_at: float | None) -> None:
        """Store the outcome of an attempt: time of the next one, None for no other."""
        self._run(self._end_delivery, job_id, "" if next_at is None else next_at)

    def queue_state(self, now: float) -> QueueState:
        """Return the state of the queue of all jobs."""
        queued, running, _, oldest, workers = self._state()
        return QueueState(queued, running, max(0.0, now - float(oldest)) if oldest else 0.0, workers)

    def close(self) -> None:
        """Stop the probe and close the connections but that of a command in progress."""
        self._circuit.stop()
        self._redis.connection_pool.disconnect(inuse_connections=False)

    # Of the Celery backend alone

    def up(self) -> bool:
        """Return whether Redis answered the last command, a few seconds ago at most, and has memory for jobs."""
        return self._circuit.up() and not self._memory.problem

    def measure_memory(self) -> None:
        """Check whether Redis has memory for further jobs; otherwise `add` refuses them."""
        found = self._call(lambda: self._redis.info("memory"))
        used, limit = found["used_memory"], found.get("maxmemory", 0)
        if limit and used > MAX_MEMORY_SHARE * limit:
            self._memory.report(f"maxmemory={limit}")
        else:
            self._memory.clear()

    def claim(self) -> Claim | None:
        """Give the next item to this worker, one of a lost worker first; None for none.

        Owners take turns, and so do the jobs of an owner, so that no job waits for the end of a larger one.
        """
        now = self._clock()
        found = self._run(self._claim, now, now - LOST_SECONDS, self._live_ms)
        if not found:
            return None
        job_id, number, losses = found[0], int(found[1]), int(found[2])
        job, item = self.job(job_id), self.item(job_id, number)
        return Claim(Task(job, item), losses) if job and item else None

    def missing_tasks(self, queue: str) -> int:
        """Return how many items wait, or belong to lost workers, beyond the length of a list."""
        queued, _, lost, _, _ = self._state()
        return max(0, int(queued) + int(lost) - self.tasks(queue))

    def tasks(self, queue: str) -> int:
        """Return the length of a list."""
        length: int = self._call(lambda: self._redis.llen(queue))
        return length

    def report(self, worker: str, running: Iterable[tuple[str, int]]) -> None:
        """Store that a worker is alive and what it has taken."""
        items = [f"{job_id}:{number}" for job_id, number in running]

        def write() -> None:
            now = self._clock()
            with self._redis.pipeline() as pipeline:
                if items:
                    pipeline.zadd(f"{PREFIX}running", dict.fromkeys(items, now), xx=True)
                pipeline.zremrangebyscore(f"{PREFIX}workers", "-inf", now - LOST_SECONDS)
                pipeline.zadd(f"{PREFIX}workers", {worker: now}).expire(f"{PREFIX}workers", int(LOST_SECONDS))
                pipeline.execute()

        self._call(write)

    def take_finished(self) -> Mapping[str, int]:
        """Return the numbers of items finished since the last call of any process, by state."""

        def take() -> dict[str, str]:
            with self._redis.pipeline() as pipeline:
                found, _ = pipeline.hgetall(f"{PREFIX}finished").delete(f"{PREFIX}finished").execute()
                return cast("dict[str, str]", found)

        return {state: int(number) for state, number in self._call(take).items()}

    def begin_turn(self, name: str, seconds: float) -> bool:
        """Return whether no other process has this turn; this one has it now, for some seconds at most."""
        return bool(self._call(lambda: self._redis.set(f"{PREFIX}turn-of:{name}", 1, nx=True, px=int(seconds * 1000))))

    def end_turn(self, name: str) -> None:
        """Give up a turn."""
        self._call(lambda: self._redis.delete(f"{PREFIX}turn-of:{name}"))

    # Ways to Redis

    def _call(self, command: Callable[[], T], items: int = 1) -> T:
        try:
            return self._circuit.call(command, MAX_WAIT + items / ITEMS_PER_SECOND)
        except CircuitOpen as error:
            raise JobsUnavailable() from error

    def _run(self, script: Any, *arguments: object) -> Any:
        return self._call(lambda: script(args=arguments))

    def _state(self) -> Any:
        return self._run(self._queue_state, self._clock() - LOST_SECONDS)

    def _hashes(self, keys: Iterable[str]) -> list[dict[str, str]]:
        with self._redis.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.hgetall(key)
            return list(pipeline.execute())

    def _some_items(self, job_id: str, numbers: Sequence[int], versions: Mapping[int, int]) -> list[Item]:
        names = [name for number in numbers for name in _names(number)]
        if not names:
            return []
        values = self._call(lambda: self._redis.hmget(f"{PREFIX}items:{job_id}", names), len(names))
        fields = {name: value for name, value in zip(names, values, strict=True) if value is not None}
        return [_item(number, fields, versions[number]) for number in numbers if str(number) in fields]

    def _probe(self) -> None:
        """Write, since a Redis that is full, or a replica, still answers a ping; raise RedisError."""
        self._redis.set(f"{PREFIX}probe", 1, ex=PROBE_LIFE)


def _hash(client: str, key: str) -> str:
    """Return a text of fixed length for an idempotency key: clients choose both parts."""
    return hashlib.sha256(json.dumps([client, key]).encode()).hexdigest()


def _names(number: int) -> tuple[str, ...]:
    """Return the fields of an item: what does not change, state, error, outputs."""
    return str(number), f"{number}:state", f"{number}:error", f"{number}:outputs"


def _fields(job: NewJob, repeated: str) -> dict[str, object]:
    """Return the fields of a job that do not depend on its items."""
    return {
        "owner": job.owner,
        "variants": dump_variants(job.variants),
        "background": job.background,
        "webhook_url": job.webhook_url,
        "digest": job.digest,
        "repeated": repeated,
        "attempts": 0,
    }


def _unchanging(item: NewItem) -> str:
    """Return what does not change in an item, as JSON."""
    return json.dumps({name: value for name, value in asdict(item).items() if name != "error"})


def _job(job_id: str, fields: Mapping[str, str]) -> Job:
    started, ended = (float(fields[name]) if name in fields else None for name in ("started", "ended"))
    return Job(
        id=job_id,
        owner=fields["owner"],
        state=JobState.DONE if ended is not None else JobState.QUEUED if started is None else JobState.RUNNING,
        created=float(fields["created"]),
        started=started,
        ended=ended,
        expires=float(fields["expires"]),
        counts=Counts(*(int(fields[name]) for name in ("queued", "running", "done", "failed"))),
        variants=load_variants(fields["variants"]),
        background=fields["background"],
        webhook_url=fields["webhook_url"],
        digest=fields["digest"],
        version=int(fields["version"]),
    )


def _item(number: int, fields: Mapping[str, str], version: int) -> Item:
    unchanging, state, error, outputs = (fields.get(name, "") for name in _names(number))
    return Item(
        number=number,
        state=ItemState(state or "queued"),
        error=load_error(error),
        outputs=load_outputs(outputs),
        version=version,
        **json.loads(unchanging),
    )
