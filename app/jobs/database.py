"""SQLite file of the local backend: schema, connections, transactions."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from app.jobs.alarm import Alarm
from app.jobs.errors import JobsUnavailable

__all__ = ["VERSION", "Database", "FileIdentity", "examine"]

VERSION = 1
# Seconds to wait for the transaction of another process; each takes milliseconds.
BUSY_SECONDS = 10.0
# Errors of a row with a damaged value, and of a message of SQLite about a damaged name.
UNREADABLE = (ValueError, TypeError, LookupError)
FileIdentity = tuple[int, int]
SCHEMA = """
CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    client TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    digest TEXT NOT NULL,
    variants TEXT NOT NULL,
    background TEXT NOT NULL,
    webhook_url TEXT NOT NULL,
    state TEXT NOT NULL,
    created REAL NOT NULL,
    started REAL,
    ended REAL,
    expires REAL NOT NULL,
    version INTEGER NOT NULL,
    queued INTEGER NOT NULL,
    running INTEGER NOT NULL DEFAULT 0,
    done INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL,
    served INTEGER NOT NULL DEFAULT 0,
    paused_until REAL NOT NULL DEFAULT 0,
    delivery_at REAL,
    delivery_attempts INTEGER NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX jobs_by_key ON jobs (client, idempotency_key) WHERE idempotency_key <> '';
CREATE INDEX jobs_by_owner ON jobs (owner, served);
CREATE INDEX jobs_by_turn ON jobs (served);
CREATE INDEX jobs_by_expiry ON jobs (expires);
CREATE INDEX jobs_waiting ON jobs (served) WHERE queued > 0;
CREATE INDEX jobs_unfinished ON jobs (created) WHERE ended IS NULL;
CREATE INDEX jobs_to_deliver ON jobs (delivery_at) WHERE delivery_at IS NOT NULL;
CREATE TABLE items (
    job_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    name TEXT NOT NULL,
    base TEXT NOT NULL,
    key TEXT NOT NULL,
    url TEXT NOT NULL,
    size INTEGER NOT NULL,
    state TEXT NOT NULL,
    error TEXT NOT NULL,
    outputs TEXT NOT NULL DEFAULT '',
    version INTEGER NOT NULL DEFAULT 0,
    process TEXT NOT NULL DEFAULT '',
    attempts INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (job_id, number)
);
CREATE INDEX items_queued ON items (job_id, attempts, number) WHERE state = 'queued';
CREATE INDEX items_running ON items (process) WHERE state = 'running';
CREATE INDEX items_by_version ON items (job_id, version);
"""


class Database:
    """One connection behind a lock, opened on demand, and anew after an error or when the file is replaced.

    Transactions are durable when they end (WAL, synchronous=FULL). A damaged file is added to `damaged`, and not used
    any more until it is replaced.
    """

    def __init__(self, path: Path, alarm: Alarm, begin: str, damaged: set[FileIdentity]) -> None:
        self._path = path
        self._alarm = alarm
        self._begin = begin
        self._damaged = damaged
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._file: FileIdentity | None = None

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Begin a transaction; commit it, or roll it back after an exception. Raise JobsUnavailable."""
        with self._lock:
            if self._is_damaged():
                raise JobsUnavailable()
            try:
                connection = self._connected()
                connection.execute(self._begin)
                try:
                    yield connection
                    connection.execute("COMMIT")
                except BaseException:
                    with suppress(sqlite3.Error):
                        connection.execute("ROLLBACK")
                    raise
            except (sqlite3.Error, OSError, *UNREADABLE) as error:
                self._close()
                self._alarm.report(_reason(error, self._path))
                if _is_damage(error) and (file := _identity(self._path)):
                    self._damaged.add(file)
                raise JobsUnavailable() from error
            self._alarm.clear()

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._close()

    def _is_damaged(self) -> bool:
        if self._damaged and _identity(self._path) not in self._damaged:
            self._damaged.clear()  # a later file may have the same number
        return bool(self._damaged)

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None or self._file != _identity(self._path):
            self._close()
            self._connection = _open(self._path)
            self._file = _identity(self._path)
        return self._connection

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()


def examine(path: Path) -> str:
    """Return the problem of an existing file, empty if it is sound; reads all of it."""
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS)
        try:
            found = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
        finally:
            connection.close()
    except sqlite3.Error as error:
        return _reason(error, path)
    return "" if found == "ok" else f"file={path} damaged: {found.splitlines()[-1]}"


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # SQLite does not wait for another process that changes the journal's mode or creates the same tables.
    with _locked(path.with_suffix(".lock")):
        _create(path)
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            _prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection


def _create(path: Path) -> None:
    """Create an empty file that only its owner can read, unless it exists; SQLite's other files get its mode."""
    # An existing file must not be opened: closing it would drop the locks of all connections of this process (POSIX),
    # and another process would delete the WAL under them.
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def _prepare(connection: sqlite3.Connection) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == 0:
        connection.executescript(f"BEGIN IMMEDIATE;{SCHEMA}PRAGMA user_version = {VERSION};COMMIT;")
    elif version != VERSION:
        raise sqlite3.NotSupportedError(f"version {version} of another release; this one reads version {VERSION}")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _identity(path: Path) -> FileIdentity | None:
    try:
        status = path.stat()
    except OSError:  # it does not exist, or its folder cannot be read
        return None
    return status.st_dev, status.st_ino


def _is_damage(error: Exception) -> bool:
    if isinstance(error, sqlite3.OperationalError) and not hasattr(error, "sqlite_errorname"):
        return True  # a text that is not UTF-8
    name = getattr(error, "sqlite_errorname", "")
    return isinstance(error, UNREADABLE) or name == "SQLITE_NOTADB" or name.startswith("SQLITE_CORRUPT")


def _reason(error: Exception, path: Path) -> str:
    if _is_damage(error):
        return (
            f"file={path} damaged: {error!r:.200}. Stop the service, move {path.name}* and the folder of files out of "
            f"{path.parent}, and start it again; the jobs in it are lost."
        )
    return f"file={path} error={error}"
