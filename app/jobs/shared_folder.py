"""Folder of jobs that machines share: a web process marks it, so that a worker notices when it is not mounted."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from app.jobs.folder_files import FolderFiles

__all__ = ["MARK", "WebFolder", "WorkerFolder"]

MARK = ".background-remover-jobs"


class WebFolder(FolderFiles):
    """The folder in a web process, which marks it; photos are durable after `sync` only."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, durable=False)

    def check(self) -> None:
        """Write a file, read it and delete it, and mark the folder; raise OSError."""
        super().check()
        (self.folder / MARK).touch(mode=0o600)


class WorkerFolder(FolderFiles):
    """The folder in a worker; without the mark it raises OSError, so that no file gets lost in a bare mount point."""

    @contextmanager
    def create(self, key: str) -> Iterator[BinaryIO]:
        """Return a file to write; it appears under its key when the block ends without an exception."""
        self._require_mark()
        with super().create(key) as file:
            yield file

    def read(self, key: str) -> bytes:
        """Return a file's content; raise FileNotFoundError for a missing file of a folder that is mounted."""
        try:
            return super().read(key)
        except FileNotFoundError:
            self._require_mark()
            raise

    def check(self) -> None:
        """Write a file, read it and delete it; raise OSError."""
        self._require_mark()
        super().check()

    def _require_mark(self) -> None:
        if not (self.folder / MARK).exists():
            raise OSError(errno.ENODEV, f"not the folder of the web processes, {MARK} is missing", str(self.folder))
