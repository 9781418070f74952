"""Store of the local backend: turns, claims, recovery, and damaged files."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.jobs.database import examine
from app.jobs.errors import JobsUnavailable
from app.jobs.model import Counts, ItemState
from app.jobs.sqlite_store import SqliteStore
from tests.support.clock import Clock
from tests.support.configuration import ROOT
from tests.support.job_stores import TTL
from tests.support.jobs import new_job

A, B, C = "a" * 32, "b" * 32, "c" * 32


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs" / "state.db"


@pytest.fixture
def store(path: Path, clock: Clock) -> Iterator[SqliteStore]:
    made = SqliteStore(path, TTL, clock)
    yield made
    made.close()


def claims(store: SqliteStore, count: int) -> list[str]:
    """Return the first letters of the jobs of the next items."""
    claimed = [store.claim("p") for _ in range(count)]
    return [found[0].job.id[0] for found in claimed if found]


def counts(store: SqliteStore, job_id: str) -> Counts:
    job = store.job(job_id)
    assert job is not None
    return job.counts


# Turns


def test_the_items_of_a_job_are_claimed_in_order(store: SqliteStore) -> None:
    store.add(new_job(A, photos=3))
    claimed = [store.claim("p") for _ in range(4)]
    assert [found and found[0].item.number for found in claimed] == [1, 2, 3, None]


def test_a_small_job_does_not_wait_for_a_large_one(store: SqliteStore) -> None:
    store.add(new_job(A, photos=100))
    assert claims(store, 3) == ["a", "a", "a"]
    store.add(new_job(B, photos=2))
    assert claims(store, 5) == ["b", "a", "b", "a", "a"]


def test_owners_take_turns_whatever_their_number_of_jobs(store: SqliteStore) -> None:
    store.add(new_job(A, owner="shop", photos=9))
    store.add(new_job(B, owner="shop", photos=9))
    store.add(new_job(C, owner="other", photos=9))
    assert Counter(claims(store, 12)) == {"c": 6, "a": 3, "b": 3}


def test_a_job_that_pauses_loses_only_its_own_turns(store: SqliteStore, clock: Clock) -> None:
    store.add(new_job(A))
    store.claim("p")
    store.release(A, 1, pause=10)
    assert store.has_work() is False
    store.add(new_job(B))
    assert claims(store, 3) == ["b", "b"]
    clock.now += 10
    assert store.has_work() is True
    assert claims(store, 3) == ["a", "a"]


def test_a_pause_ends_though_the_clock_is_set_back(store: SqliteStore, clock: Clock) -> None:
    store.add(new_job(A))
    store.claim("p")
    store.release(A, 1, pause=10)
    clock.now -= 86_400
    assert store.has_work() is True


def test_a_webhook_is_due_though_the_clock_is_set_back(store: SqliteStore, clock: Clock) -> None:
    store.add(new_job(A, photos=1, webhook_url="https://x.example/"))
    store.claim("p")
    store.finish(A, 1, [], None)
    assert store.take_delivery(clock.now - 86_400, 60) is not None


def test_turns_do_not_depend_on_the_clock(store: SqliteStore, clock: Clock) -> None:
    store.add(new_job(A))
    clock.now -= 86_400
    store.add(new_job(B))
    assert claims(store, 4) == ["a", "b", "a", "b"]


# Claims and recovery


def test_two_threads_never_claim_the_same_item(store: SqliteStore, path: Path) -> None:
    store.add(new_job(A, photos=60))
    found = list[int]()

    def work() -> None:
        with_own_connection = SqliteStore(path, TTL)
        while claimed := with_own_connection.claim("p"):
            found.append(claimed[0].item.number)
        with_own_connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(1, 61))


def test_the_items_of_an_ended_process_are_queued_again(store: SqliteStore) -> None:
    store.add(new_job(A, photos=3))
    store.claim("dead")
    store.claim("dead")
    store.claim("alive")
    assert sorted(store.processes()) == ["alive", "dead"]
    assert store.give_back("dead", died=True) == 2
    assert store.processes() == ["alive"]
    assert [item.state for item in store.items(A)] == [ItemState.QUEUED, ItemState.QUEUED, ItemState.RUNNING]
    assert counts(store, A) == Counts(queued=2, running=1)


def test_a_claim_tells_how_many_processes_have_died_with_the_item(store: SqliteStore) -> None:
    store.add(new_job(A, photos=1))
    deaths = list[int]()
    for _ in range(3):
        claimed = store.claim("p")
        assert claimed is not None
        deaths.append(claimed[1])
        store.give_back("p", died=True)
    assert deaths == [0, 1, 2]


def test_an_item_with_which_a_process_has_died_comes_last_in_its_job(store: SqliteStore) -> None:
    store.add(new_job(A, photos=4))
    store.claim("dead")
    store.claim("dead")
    store.give_back("dead", died=True)
    claimed = [store.claim("p") for _ in range(4)]
    assert [found and found[0].item.number for found in claimed] == [3, 4, 1, 2]


def test_a_shutdown_and_a_release_are_not_deaths(store: SqliteStore) -> None:
    store.add(new_job(A, photos=1))
    store.claim("p")
    store.give_back("p", died=False)
    store.claim("p")
    store.release(A, 1)
    claimed = store.claim("p")
    assert claimed is not None
    assert claimed[1] == 0


def test_a_finished_item_is_not_given_back(store: SqliteStore) -> None:
    store.add(new_job(A, photos=1))
    store.claim("p")
    store.finish(A, 1, [], None)
    assert store.give_back("p", died=True) == 0
    assert counts(store, A) == Counts(done=1)


# The file


def test_several_processes_may_create_the_file(path: Path) -> None:
    stores = [SqliteStore(path, TTL) for _ in range(8)]
    threads = [threading.Thread(target=store.has_work) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [store.problem for store in stores] == [""] * 8
    for store in stores:
        store.close()


def test_the_file_is_durable_and_private(store: SqliteStore, path: Path) -> None:
    store.add(new_job(A))
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert [file.name for file in path.parent.iterdir() if file.stat().st_mode & 0o077] == []
    assert path.parent.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "content", [b"not a database" * 1000, b"SQLite format 3\0" + os.urandom(8000)], ids=["text", "head"]
)
def test_a_damaged_file_is_named_once(path: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    store = SqliteStore(path, TTL)
    for _ in range(3):
        with pytest.raises(JobsUnavailable):
            store.add(new_job(A))
    assert "damaged" in store.problem
    assert str(path) in store.problem
    assert len(caplog.records) == 1
    assert examine(path) != ""
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "damage",
    [
        "state = 'q[eued'",
        "outputs = '[{'",
        "outputs = '[{}]'",
        "error = '[]'",
        "key = CAST(x'ff' AS TEXT)",
    ],
)
def test_a_damaged_row_makes_jobs_unavailable_until_the_file_is_replaced(
    store: SqliteStore, path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    store.add(new_job(A))
    with sqlite3.connect(path) as db:
        db.execute(f"UPDATE items SET {damage} WHERE number = 1")  # noqa: S608
    db.close()
    for _ in range(3):
        for call in (lambda: store.items(A), store.probe, lambda: store.claim("p"), lambda: store.job(A)):
            with pytest.raises(JobsUnavailable):
                call()
    assert "damaged" in store.problem
    assert len(caplog.records) == 1
    for old in path.parent.glob("state.db*"):
        old.unlink()
    assert store.job(A) is None
    store.add(new_job(A))
    assert len(store.items(A)) == 2
    assert store.problem == ""


def test_a_damaged_page_makes_jobs_unavailable(store: SqliteStore, path: Path) -> None:
    store.add(new_job(A, photos=300))
    store.close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    assert examine(path) == ""
    with path.open("r+b") as file:
        file.seek(4096 * 3)
        file.write(os.urandom(path.stat().st_size - 4096 * 4))
    assert "damaged" in examine(path)
    with pytest.raises(JobsUnavailable):
        while store.claim("p"):
            store.items(A)
    assert "damaged" in store.problem


def test_a_replaced_file_is_used_without_a_restart(store: SqliteStore, path: Path) -> None:
    store.add(new_job(A))
    for old in path.parent.glob("state.db*"):
        old.unlink()
    store.add(new_job(B))
    assert store.job(A) is None
    assert store.job(B) is not None


def test_changes_of_another_process_are_seen_after_it_has_ended(store: SqliteStore, path: Path) -> None:
    """The last process to close the file deletes its WAL, unless this one is seen to use it."""
    store.add(new_job(A))
    store.has_work()
    for job_id in (B, C):
        code = "import sys; from pathlib import Path; from app.jobs.sqlite_store import SqliteStore\n"
        code += "from tests.support.jobs import new_job; store = SqliteStore(Path(sys.argv[1]), 100)\n"
        code += "store.has_work(); store.add(new_job(sys.argv[2])); store.close()"
        subprocess.run([sys.executable, "-c", code, str(path), job_id], cwd=ROOT, check=True)
        assert store.job(job_id) is not None


def test_a_file_of_another_release_is_refused(store: SqliteStore, path: Path) -> None:
    store.add(new_job(A))
    store.close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(JobsUnavailable):
        store.job(A)
    assert "version 99" in store.problem


def test_a_folder_that_cannot_be_made_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = SqliteStore(tmp_path / "file" / "jobs" / "state.db", TTL)
    with pytest.raises(JobsUnavailable):
        store.has_work()
    assert "Not a directory" in store.problem


def test_a_locked_file_is_waited_for_and_then_reported(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr("app.jobs.database.BUSY_SECONDS", 0.1)
    store.add(new_job(A))
    store.close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(JobsUnavailable):
        store.claim("p")
    assert "locked" in store.problem
    assert store.job(A) is not None  # readers do not wait
    other.execute("ROLLBACK")
    other.close()
    store.probe()
    assert store.problem == ""
    assert [record.getMessage().split()[0] for record in caplog.records] == ["jobs.unavailable", "jobs.available"]
