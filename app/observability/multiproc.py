"""Folder of metrics shared by the web workers.

prometheus_client writes one set of files per process in PROMETHEUS_MULTIPROC_DIR and sums them on request. It reads the
variable on its first import: gunicorn's master calls `prepare` before that, and this module imports it only inside
functions.
"""

from __future__ import annotations

import atexit
import fcntl
import logging
import os
import shutil
import struct
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

__all__ = ["FOLDER_VARIABLE", "PREFIX", "exposition", "mark_dead", "prepare", "reserve", "shared_folder"]

log = logging.getLogger(__name__)

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
MEMORY_FOLDER = Path("/dev/shm")  # noqa: S108  # metrics must not wait for a disk
MIN_FREE = 16 << 20
# Bytes that are allocated for a worker's files of each kind: prometheus_client maps sparse files, and a write to one on
# a full file system ends the process with SIGBUS. A worker that has answered with 5 statuses on all 15 endpoints uses
# 90 KB in all.
RESERVED = {
    "counter": 256 << 10,
    "histogram": 256 << 10,
    "gauge_livesum": 64 << 10,
    "gauge_livemin": 64 << 10,
    "gauge_livemax": 64 << 10,
}
PREFIX = "bg-remover-metrics-"
# Minimum age of an abandoned folder, in seconds: a new one may not be locked yet.
GRACE_SECONDS = 60.0


def prepare() -> Path:
    """Create or empty the shared folder, set the environment variable, and return the folder.

    Called once, by gunicorn's master before it forks. A created folder is removed when the master ends; a folder named
    by the operator stays.
    """
    if chosen := os.environ.get(FOLDER_VARIABLE):
        folder = Path(chosen).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        for file in folder.glob("*.db"):
            file.unlink(missing_ok=True)
    else:
        parent = _parent_folder()
        _remove_abandoned(parent)
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        with suppress(OSError):  # a file system without locks: no other server removes the folder then
            _lock(folder)
        atexit.register(_remove, folder, os.getpid())
    os.environ[FOLDER_VARIABLE] = str(folder)
    return folder


def reserve() -> None:
    """Allocate the files of this worker; called after the fork, before anything imports prometheus_client.

    Without the space the worker counts in its own memory, and /metrics shows the worker that is asked.
    """
    folder = shared_folder()
    if folder is None:
        return
    files = {folder / f"{kind}_{os.getpid()}.db": size for kind, size in RESERVED.items()}
    try:
        for file, size in files.items():
            with file.open("ab") as opened:
                os.posix_fallocate(opened.fileno(), 0, size)
    except OSError as error:
        for file in files:
            file.unlink(missing_ok=True)
        del os.environ[FOLDER_VARIABLE]
        log.error("metrics.not_shared error=%s", error.strerror)


def shared_folder() -> Path | None:
    """Return the folder of prometheus_client in this process, created if it is missing; None if it uses none."""
    if FOLDER_VARIABLE not in os.environ:
        return None
    folder = Path(os.environ[FOLDER_VARIABLE])
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def exposition(folder: Path) -> bytes:
    """Return the sums over all processes in Prometheus' text format."""
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.multiprocess import MultiProcessCollector

    class Files:
        """All files except empty ones, left by a process killed while it created them."""

        def collect(self) -> Iterable[object]:
            files = [str(file) for file in folder.glob("*.db") if _has_content(file)]
            return MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call, no-any-return]

    registry = CollectorRegistry()
    registry.register(Files())  # type: ignore[arg-type]
    return generate_latest(registry)


def mark_dead(pid: int) -> None:
    """Remove the gauges of a dead worker; the files of its counters and histograms stay, and so do the sums."""
    # Those files stay until the server ends: 90 KB for a busy worker, once cut to their used part. A scrape with 100 of
    # them took 0.1 s.
    from prometheus_client.multiprocess import mark_process_dead

    with suppress(OSError):  # an error here would end gunicorn's master
        folder = os.environ[FOLDER_VARIABLE]
        mark_process_dead(pid, folder)  # type: ignore[no-untyped-call]
        for file in Path(folder).glob(f"*_{pid}.db"):
            _cut_to_used(file)


def _cut_to_used(file: Path) -> None:
    """Give back what was reserved: the file begins with the number of bytes in use (prometheus_client's format)."""
    with file.open("r+b") as opened:
        (used,) = struct.unpack("i", opened.read(4).ljust(4, b"\0"))
        opened.truncate(used)


def _has_content(file: Path) -> bool:
    try:
        return file.stat().st_size > 0
    except FileNotFoundError:  # removed by `mark_dead` meanwhile
        return False


def _parent_folder() -> Path:
    """Return the parent of a new folder: in memory if there is space."""
    with suppress(OSError):
        if os.access(MEMORY_FOLDER, os.W_OK) and shutil.disk_usage(MEMORY_FOLDER).free >= MIN_FREE:
            return MEMORY_FOLDER
    return Path(tempfile.gettempdir())


def _lock(folder: Path) -> int:
    """Lock a folder while this process or a fork of it lives; raise BlockingIOError if it is locked."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _remove_abandoned(parent: Path) -> None:
    """Remove the folders of killed servers."""
    for folder in parent.glob(f"{PREFIX}*"):
        with suppress(OSError):  # owned by another user, removed meanwhile, or locked
            if time.time() - folder.stat().st_mtime > GRACE_SECONDS:
                os.close(_lock(folder))
                shutil.rmtree(folder)


def _remove(folder: Path, owner: int) -> None:
    if os.getpid() == owner:  # workers inherit exit handlers
        shutil.rmtree(folder, ignore_errors=True)
