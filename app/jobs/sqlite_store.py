"""Store of the local backend: SQLite, shared by the threads of several web workers."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from app.jobs.alarm import Alarm
from app.jobs.database import VERSION, Database, FileIdentity
from app.jobs.encoding import dump_error, dump_outputs, dump_variants, load_error, load_outputs, load_variants
from app.jobs.model import Counts, Delivery, Item, ItemError, ItemState, Job, JobState, NewItem, NewJob, Output
from app.jobs.store import QueueState, Task, unfinished_seconds

__all__ = ["SqliteStore"]

# A pause or a webhook further ahead than this was stored before the clock was set back: it counts as due.
MAX_AHEAD = 7200
CLAIMABLE = f"queued > 0 AND (paused_until <= :now OR paused_until > :now + {MAX_AHEAD})"
# The owner that has waited longest for a turn, of its jobs the one that has, and of those the oldest.
NEXT_JOB = (
    f"SELECT id FROM jobs WHERE {CLAIMABLE} ORDER BY "  # noqa: S608
    "(SELECT max(served) FROM jobs AS others WHERE others.owner = jobs.owner), served, rowid LIMIT 1"
)
DUE = f"delivery_at IS NOT NULL AND (delivery_at <= :now OR delivery_at > :now + {MAX_AHEAD})"
NEW_ITEM = (
    "INSERT INTO items (job_id, number, name, base, key, url, size, state, error) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
UNFINISHED = {ItemState.QUEUED, ItemState.RUNNING}


class SqliteStore:
    """JobStore on a file; `ttl` is in seconds from the end of a job to its expiry."""

    def __init__(self, path: Path, ttl: float, clock: Callable[[], float] = time.time) -> None:
        self._ttl = ttl
        self._clock = clock
        self._alarms = Alarm("state"), Alarm("state (reading)")
        damaged = set[FileIdentity]()
        # Reads do not wait for a write, nor for its disk.
        self._writer = Database(path, self._alarms[0], "BEGIN IMMEDIATE", damaged)
        self._reader = Database(path, self._alarms[1], "BEGIN", damaged)

    @property
    def problem(self) -> str:
        """Return why the state could not be read or written the last time, for operators; empty if it could."""
        return self._alarms[0].problem or self._alarms[1].problem

    def probe(self) -> None:
        """Write to the file without a change; raise JobsUnavailable."""
        with self._writer.transaction() as db:
            db.execute(f"PRAGMA user_version = {VERSION}")

    def close(self) -> None:
        """Close the connections; a later call opens them again."""
        self._reader.close()
        self._writer.close()

    # JobStore

    def add(self, job: NewJob) -> Job:
        """Store a job, or return the earlier job with its idempotency key."""
        with self._writer.transaction() as db:
            earlier = _job_by_key(db, job.client, job.idempotency_key)
            if earlier is None:
                self._insert(db, job)
            return earlier or _job(_found(db, job.id))

    def job(self, job_id: str) -> Job | None:
        """Return a job, None for an unknown or deleted one."""
        with self._reader.transaction() as db:
            row = db.execute("SELECT * FROM jobs WHERE id = ?", (job_id,)).fetchone()
            return _job(row) if row else None

    def jobs_of(self, owner: str) -> Sequence[Job]:
        """Return the jobs of an API key, the newest first."""
        with self._reader.transaction() as db:
            return [_job(row) for row in db.execute("SELECT * FROM jobs WHERE owner = ? ORDER BY rowid DESC", (owner,))]

    def items(self, job_id: str, changed_after: int = -1) -> Sequence[Item]:
        """Return the items of a job in order, or those changed after a version of the job."""
        query = "SELECT * FROM items WHERE job_id = ? AND version > ? ORDER BY number"
        with self._reader.transaction() as db:
            return [_item(row) for row in db.execute(query, (job_id, changed_after))]

    def item(self, job_id: str, number: int) -> Item | None:
        """Return one item."""
        with self._reader.transaction() as db:
            row = db.execute("SELECT * FROM items WHERE job_id = ? AND number = ?", (job_id, number)).fetchone()
            return _item(row) if row else None

    def finish(self, job_id: str, number: int, outputs: Sequence[Output], error: ItemError | None) -> bool:
        """Store the outcome of an item; return False if it has one already, or if the job is deleted."""
        state = ItemState.FAILED if error else ItemState.DONE
        with self._writer.transaction() as db:
            if not _move(db, job_id, number, UNFINISHED, state):
                return False
            db.execute(
                "UPDATE items SET error = ?, outputs = ? WHERE job_id = ? AND number = ?",
                (dump_error(error), dump_outputs(outputs), job_id, number),
            )
            self._end_if_finished(db, job_id)
        return True

    def release(self, job_id: str, number: int, pause: float = 0.0) -> None:
        """Queue a running item again; no item of its job is claimed for the next `pause` seconds."""
        with self._writer.transaction() as db:
            if not _move(db, job_id, number, {ItemState.RUNNING}, ItemState.QUEUED):
                return
            _forget_attempt(db, job_id, number)
            if pause:
                db.execute("UPDATE jobs SET paused_until = ? WHERE id = ?", (self._clock() + pause, job_id))

    def delete(self, job_id: str) -> bool:
        """Delete a job with its items; return whether it existed."""
        with self._writer.transaction() as db:
            db.execute("DELETE FROM items WHERE job_id = ?", (job_id,))
            return db.execute("DELETE FROM jobs WHERE id = ?", (job_id,)).rowcount > 0

    def expired(self, now: float) -> Sequence[str]:
        """Return the ids of the jobs to delete."""
        with self._reader.transaction() as db:
            return [row["id"] for row in db.execute("SELECT id FROM jobs WHERE expires <= ?", (now,))]

    def take_delivery(self, now: float, lease_seconds: float) -> Delivery | None:
        """Return a webhook that is due, one with fewer attempts first, and reserve it; None for none."""
        query = f"SELECT * FROM jobs WHERE {DUE} ORDER BY delivery_attempts, delivery_at LIMIT 1"  # noqa: S608
        with self._reader.transaction() as db:
            if db.execute(query, {"now": now}).fetchone() is None:
                return None
        with self._writer.transaction() as db:
            row = db.execute(query, {"now": now}).fetchone()
            if row is None:
                return None
            db.execute("UPDATE jobs SET delivery_at = ? WHERE id = ?", (now + lease_seconds, row["id"]))
            return Delivery(row["id"], row["webhook_url"], row["delivery_attempts"])

    def end_delivery(self, job_id: str, next_at: float | None) -> None:
        """Store the time of the next attempt, None for no other."""
        change = "delivery_at = ?, delivery_attempts = delivery_attempts + 1"
        with self._writer.transaction() as db:
            db.execute(f"UPDATE jobs SET {change} WHERE id = ?", (next_at, job_id))  # noqa: S608

    def queue_state(self, now: float) -> QueueState:
        """Return the state of the queue of all jobs."""
        with self._reader.transaction() as db:
            row = db.execute(
                "SELECT total(queued) AS queued, total(running) AS running, "
                "min(CASE WHEN queued > 0 THEN created END) AS oldest FROM jobs WHERE ended IS NULL"
            ).fetchone()
        oldest = now if row["oldest"] is None else row["oldest"]
        return QueueState(int(row["queued"]), int(row["running"]), max(0.0, now - oldest))

    # Of the local backend alone

    def has_work(self) -> bool:
        """Return whether an item can be claimed."""
        with self._reader.transaction() as db:
            query = f"SELECT EXISTS (SELECT 1 FROM jobs WHERE {CLAIMABLE})"  # noqa: S608
            return bool(db.execute(query, {"now": self._clock()}).fetchone()[0])

    def claim(self, process: str) -> tuple[Task, int] | None:
        """Give the next item to a process; return it with the number of processes that died with it, None for none.

        Owners take turns, and so do the jobs of an owner, so that no job waits for the end of a larger one. Items with
        which processes have died come last in their job, so that a photo that ends processes harms no other one.
        """
        now = self._clock()
        with self._writer.transaction() as db:
            row = db.execute(NEXT_JOB, {"now": now}).fetchone()
            if row is None:
                return None
            job_id = row["id"]
            number = db.execute(
                "SELECT number FROM items WHERE job_id = ? AND state = 'queued' ORDER BY attempts, number LIMIT 1",
                (job_id,),
            ).fetchone()["number"]
            _move(db, job_id, number, {ItemState.QUEUED}, ItemState.RUNNING)
            db.execute(
                "UPDATE jobs SET state = 'running', started = coalesce(started, ?), "
                "served = (SELECT max(served) + 1 FROM jobs) WHERE id = ?",
                (now, job_id),
            )
            db.execute(
                "UPDATE items SET process = ?, attempts = attempts + 1 WHERE job_id = ? AND number = ?",
                (process, job_id, number),
            )
            item = db.execute("SELECT * FROM items WHERE job_id = ? AND number = ?", (job_id, number)).fetchone()
            return Task(_job(_found(db, job_id)), _item(item)), item["attempts"] - 1

    def processes(self) -> Sequence[str]:
        """Return the processes that have running items."""
        with self._reader.transaction() as db:
            query = "SELECT DISTINCT process FROM items WHERE state = 'running'"
            return [row["process"] for row in db.execute(query)]

    def give_back(self, process: str, *, died: bool) -> int:
        """Queue the running items of a process again and return their number.

        With `died` its attempts count, so that a photo that ends processes is not tried for ever.
        """
        with self._writer.transaction() as db:
            query = "SELECT job_id, number FROM items WHERE state = 'running' AND process = ?"
            running = [(row["job_id"], row["number"]) for row in db.execute(query, (process,))]
            for job_id, number in running:
                _move(db, job_id, number, {ItemState.RUNNING}, ItemState.QUEUED)
                if not died:
                    _forget_attempt(db, job_id, number)
        return len(running)

    def _insert(self, db: sqlite3.Connection, job: NewJob) -> None:
        now = self._clock()
        failed = sum(item.error is not None for item in job.items)
        values = {
            "id": job.id,
            "owner": job.owner,
            "client": job.client,
            "idempotency_key": job.idempotency_key,
            "digest": job.digest,
            "variants": dump_variants(job.variants),
            "background": job.background,
            "webhook_url": job.webhook_url,
            "state": JobState.QUEUED.value,
            "created": now,
            "expires": now + unfinished_seconds(self._ttl),
            "version": 0,
            "queued": len(job.items) - failed,
            "failed": failed,
        }
        names, marks = ", ".join(values), ", ".join("?" * len(values))
        db.execute(f"INSERT INTO jobs ({names}) VALUES ({marks})", tuple(values.values()))  # noqa: S608
        db.executemany(NEW_ITEM, (_new_row(job.id, number, item) for number, item in enumerate(job.items, start=1)))
        self._end_if_finished(db, job.id)

    def _end_if_finished(self, db: sqlite3.Connection, job_id: str) -> None:
        now = self._clock()
        db.execute(
            "UPDATE jobs SET state = 'done', ended = :now, expires = :now + :ttl, "
            "delivery_at = CASE WHEN webhook_url <> '' THEN :now END "
            "WHERE id = :id AND queued = 0 AND running = 0 AND ended IS NULL",
            {"now": now, "ttl": self._ttl, "id": job_id},
        )


def _new_row(job_id: str, number: int, item: NewItem) -> tuple[object, ...]:
    state = ItemState.FAILED if item.error else ItemState.QUEUED
    return job_id, number, item.name, item.base, item.key, item.url, item.size, state.value, dump_error(item.error)


def _move(db: sqlite3.Connection, job_id: str, number: int, before: Iterable[ItemState], after: ItemState) -> bool:
    """Change the state of an item that has one of these states, and the counts of its job; return whether it had."""
    row = db.execute("SELECT state FROM items WHERE job_id = ? AND number = ?", (job_id, number)).fetchone()
    if row is None or row["state"] not in before:
        return False
    old = ItemState(row["state"])
    db.execute(
        f"UPDATE jobs SET {old} = {old} - 1, {after} = {after} + 1, version = version + 1 WHERE id = ?",  # noqa: S608
        (job_id,),
    )
    db.execute(
        "UPDATE items SET state = ?, process = '', version = (SELECT version FROM jobs WHERE id = job_id) "
        "WHERE job_id = ? AND number = ?",
        (after.value, job_id, number),
    )
    return True


def _forget_attempt(db: sqlite3.Connection, job_id: str, number: int) -> None:
    db.execute("UPDATE items SET attempts = attempts - 1 WHERE job_id = ? AND number = ?", (job_id, number))


def _job_by_key(db: sqlite3.Connection, client: str, key: str) -> Job | None:
    query = "SELECT * FROM jobs WHERE client = ? AND idempotency_key = ? AND idempotency_key <> ''"
    row = db.execute(query, (client, key)).fetchone()
    return _job(row) if row else None


def _found(db: sqlite3.Connection, job_id: str) -> sqlite3.Row:
    row: sqlite3.Row = db.execute("SELECT * FROM jobs WHERE id = ?", (job_id,)).fetchone()
    return row


def _job(row: sqlite3.Row) -> Job:
    return Job(
        id=row["id"],
        owner=row["owner"],
        state=JobState(row["state"]),
        created=row["created"],
        started=row["started"],
        ended=row["ended"],
        expires=row["expires"],
        counts=Counts(row["queued"], row["running"], row["done"], row["failed"]),
        variants=load_variants(row["variants"]),
        background=row["background"],
        webhook_url=row["webhook_url"],
        digest=row["digest"],
        version=row["version"],
    )


def _item(row: sqlite3.Row) -> Item:
    return Item(
        number=row["number"],
        name=row["name"],
        state=ItemState(row["state"]),
        base=row["base"],
        key=row["key"],
        url=row["url"],
        size=row["size"],
        error=load_error(row["error"]),
        outputs=load_outputs(row["outputs"]),
        version=row["version"],
    )
