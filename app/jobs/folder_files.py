"""Files of jobs in a folder: `JOB_ID/name` below it, each written whole or not at all."""

from __future__ import annotations

import errno
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from app.jobs.alarm import Alarm

__all__ = ["FolderFiles"]

CHUNK = 1 << 20
SYNC_THREADS = 16
# As large as a large result, so that a disk that is almost full counts as full.
PROBE_BYTES = 4 << 20
# Errors of the folder or its disk, unlike those of a client whose photo is being written.
OF_THE_DISK = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EIO,
    errno.EACCES,
    errno.EPERM,
    errno.ENOTDIR,
}
KEY = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)
JOB_ID = re.compile(r"[\w-][\w.-]*", re.ASCII)


class FolderFiles:
    """JobFiles on a folder of one machine, readable by its owner alone.

    Files that are not `durable` may be lost in a power failure until `sync`: many at once take a fraction of the time.
    """

    def __init__(self, folder: Path, alarm: Alarm | None = None, *, durable: bool = True) -> None:
        self.folder = folder
        self._alarm = alarm or Alarm("files")
        self._durable = durable

    @property
    def problem(self) -> str:
        """Return why no file could be written the last time, for operators; empty if it could."""
        return self._alarm.problem

    @contextmanager
    def create(self, key: str) -> Iterator[BinaryIO]:
        """Return a file to write; it appears under its key when the block ends without an exception."""
        path = self._path(key)
        with self._watched():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            part = path.with_name(f".{uuid.uuid4().hex}.part")
            try:
                with open(part, "xb", opener=_private) as file:
                    yield file
                    file.flush()
                    if self._durable:
                        os.fsync(file.fileno())
                part.replace(path)
                if self._durable:
                    _sync(path.parent)
            except BaseException:
                with suppress(OSError):
                    part.unlink()
                raise

    def sync(self, keys: Sequence[str]) -> None:
        """Make files durable."""
        paths = [self._path(key) for key in keys]
        with self._watched(), ThreadPoolExecutor(SYNC_THREADS, "sync") as threads:
            # The disk writes what all threads wait for in one go.
            for wait in [threads.submit(_sync, path) for path in paths]:
                wait.result()
            for folder in {path.parent for path in paths}:
                _sync(folder)

    def read(self, key: str) -> bytes:
        """Return a file's content."""
        return self._path(key).read_bytes()

    def chunks(self, key: str) -> Iterator[bytes]:
        """Yield a file's content in pieces of at most 1 MB; the file is opened at once."""
        file = self._path(key).open("rb")

        def pieces() -> Iterator[bytes]:
            with file:
                while chunk := file.read(CHUNK):
                    yield chunk

        return pieces()

    def delete_job(self, job_id: str) -> None:
        """Delete all files of a job; also if there are none."""
        folder = self._job_folder(job_id)
        with suppress(FileNotFoundError):
            shutil.rmtree(folder)

    def job_ids(self, older_than: float) -> Sequence[str]:
        """Return the ids of jobs with files that were all written before a time."""
        try:
            with os.scandir(self.folder) as entries:
                names = [entry.name for entry in entries if JOB_ID.fullmatch(entry.name) and entry.is_dir()]
        except FileNotFoundError:
            return []
        return [name for name in names if _last_change(self.folder / name) < older_than]

    def check(self) -> None:
        """Write a file, read it and delete it; raise OSError."""
        with self._watched():
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            probe = self.folder / f".{uuid.uuid4().hex}.probe"
            try:
                with open(probe, "x+b", opener=_private) as file:
                    file.write(bytes(PROBE_BYTES))
                    file.seek(0)
                    file.read(1)
            finally:
                with suppress(OSError):
                    probe.unlink()

    @contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in OF_THE_DISK:
                self._alarm.report(f"folder={self.folder} error={error.strerror}")
            raise
        self._alarm.clear()

    def _path(self, key: str) -> Path:
        if not KEY.fullmatch(key):
            raise ValueError(f"{key!r} is not a key of a file")
        return self.folder / key

    def _job_folder(self, job_id: str) -> Path:
        if not JOB_ID.fullmatch(job_id):
            raise ValueError(f"{job_id!r} is not the id of a job")
        return self.folder / job_id


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _sync(path: Path) -> None:
    """Make the content of a file durable, or the names in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _last_change(folder: Path) -> float:
    """Return the time of the newest file in a folder, or of the folder; infinity if it has just been deleted."""
    try:
        with os.scandir(folder) as entries:
            return max([folder.stat().st_mtime, *(entry.stat(follow_symlinks=False).st_mtime for entry in entries)])
    except FileNotFoundError:
        return float("inf")
