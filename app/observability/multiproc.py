"""The folder through which the web workers share their metrics, and what becomes of a dead worker's files.

prometheus_client gives each process files of its own in PROMETHEUS_MULTIPROC_DIR, and adds them up when asked. It must
find the variable when it is first imported: so gunicorn's master calls `prepare` before anything imports it, and this
module imports it inside functions only. Files of dead workers are added into one, so that the folder does not grow.
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
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

__all__ = ["FOLDER_VARIABLE", "bury", "exposition", "prepare", "shared_folder"]

log = logging.getLogger(__name__)

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
MEMORY_FOLDER = Path("/dev/shm")  # noqa: S108  # counting must not wait for a disk
LEAST_FREE = 16 << 20
PREFIX = "bg-remover-metrics-"
# Kinds of files whose values go on counting when their process is dead.
LASTING = ("counter", "histogram")
LOCK_SECONDS = 1.0
# An abandoned folder is left alone for so long: its owner may be about to lock it.
GRACE_SECONDS = 60.0

_owned: list[IO[str]] = []
_unburied: set[int] = set()


def prepare() -> Path:
    """Make or empty the folder that this server's processes share, name it in the environment, and return it.

    Called once, by gunicorn's master before it forks. A folder of our own is removed when the master ends; one that
    the operator has named is only emptied, and not in the middle of an upgrade by SIGUSR2.
    """
    if chosen := os.environ.get(FOLDER_VARIABLE):
        folder = Path(chosen).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        if "GUNICORN_PID" not in os.environ:
            _empty(folder)
    else:
        parent = _parent_folder()
        _sweep(parent)
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        _own(folder)
    os.environ[FOLDER_VARIABLE] = str(folder)
    return folder


def shared_folder() -> Path | None:
    """Return the folder that prometheus_client uses in this process, made anew if it has gone; None for none."""
    if FOLDER_VARIABLE not in os.environ:
        return None
    folder = Path(os.environ[FOLDER_VARIABLE])
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def exposition(folder: Path) -> bytes:
    """Return what all processes have counted, as Prometheus reads it."""
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.multiprocess import MultiProcessCollector

    class Files:
        """Add up the files of one moment: none of them half made, none both buried and not."""

        def collect(self) -> Iterable[object]:
            files = [str(file) for file in folder.glob("*.db") if file.stat().st_size]
            return MultiProcessCollector.merge(files, accumulate=True)  # type: ignore[no-untyped-call, no-any-return]

    registry = CollectorRegistry()
    with _locked(folder, fcntl.LOCK_SH):
        registry.register(Files())  # type: ignore[arg-type]
        return generate_latest(registry)


def bury(folder: Path, pid: int, living: Iterable[int]) -> None:
    """Drop the gauges of a dead worker, and add what it counted to the file of all dead ones."""
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]
    _unburied.add(pid)
    _unburied.difference_update(living)
    with _locked(folder, fcntl.LOCK_EX) as locked:
        if locked:  # else the next death is soon enough
            for kind in LASTING:
                _merge(folder, kind, [folder / f"{kind}_{dead}.db" for dead in _unburied])
            _unburied.clear()


def _merge(folder: Path, kind: str, files: list[Path]) -> None:
    """Add the values of some files to those of all dead workers; the file appears whole or not at all."""
    from prometheus_client.mmap_dict import MmapedDict

    total = folder / f"{kind}_dead.db"
    found = [file for file in files if file.exists()]
    if not found:
        return
    draft = folder / f"{kind}_dead.draft"
    draft.unlink(missing_ok=True)
    values: dict[str, float] = {}
    for file in [total, *found]:
        for key, value in _values(file):
            values[key] = values.get(key, 0.0) + value
    merged = MmapedDict(str(draft))  # type: ignore[no-untyped-call]
    for key, value in values.items():
        merged.write_value(key, value, 0.0)  # type: ignore[no-untyped-call]
    merged.close()  # type: ignore[no-untyped-call]
    draft.replace(total)
    for file in found:
        file.unlink()


def _values(file: Path) -> list[tuple[str, float]]:
    """Return what a file holds, nothing if its process was killed before it was made."""
    from prometheus_client.mmap_dict import MmapedDict

    if not file.exists():
        return []
    try:
        return [(key, value) for key, value, _, _ in MmapedDict.read_all_values_from_file(str(file))]  # type: ignore[no-untyped-call]
    except (struct.error, RuntimeError, UnicodeDecodeError):
        log.warning("metrics.lost file=%s", file.name)
        return []


@contextmanager
def _locked(folder: Path, kind: int) -> Iterator[bool]:
    """Hold a lock between those who read all files and the one who merges some; yield whether it was to be had."""
    deadline = time.monotonic() + LOCK_SECONDS
    with (folder / "lock").open("w") as lock:
        while not (locked := _try_lock(lock, kind)) and time.monotonic() < deadline:
            time.sleep(0.01)
        yield locked


def _try_lock(file: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _parent_folder() -> Path:
    """Return where to make a folder: in memory, if there is room."""
    try:
        if os.access(MEMORY_FOLDER, os.W_OK) and shutil.disk_usage(MEMORY_FOLDER).free >= LEAST_FREE:
            return MEMORY_FOLDER
    except OSError:
        pass
    return Path(tempfile.gettempdir())


def _own(folder: Path) -> None:
    """Mark a folder as ours for as long as the master or one of its workers lives, and remove it when it ends."""
    owner = (folder / "owner").open("w")
    _try_lock(owner, fcntl.LOCK_EX)
    _owned.append(owner)
    master = os.getpid()

    def remove() -> None:
        if os.getpid() == master:  # workers inherit what is to be done at exit
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)


def _sweep(parent: Path) -> None:
    """Remove the folders of servers that were killed."""
    for folder in parent.glob(f"{PREFIX}*"):
        with suppress(OSError):
            status = folder.stat()
            if status.st_uid != os.getuid() or time.time() - status.st_mtime < GRACE_SECONDS:
                continue
            with (folder / "owner").open() as owner:
                if _try_lock(owner, fcntl.LOCK_EX):
                    shutil.rmtree(folder, ignore_errors=True)


def _empty(folder: Path) -> None:
    for file in [*folder.glob("*.db"), *folder.glob("*_dead.draft")]:
        file.unlink(missing_ok=True)
