"""Processes of one machine that share a folder: each locks a file, and a free lock shows that its process has ended."""

from __future__ import annotations

import fcntl
import os
import re
import uuid
from contextlib import suppress
from pathlib import Path

__all__ = ["Processes"]

NAME = re.compile(r"[0-9]+-[0-9a-f]{32}", re.ASCII)


class Processes:
    """File of the current process, and those of the others in the folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor = -1
        self.name = f"{os.getpid()}-{uuid.uuid4().hex}"

    def enter(self) -> None:
        """Lock the file of this process unless it is locked and in place; raise OSError."""
        if self._descriptor >= 0:
            if _is_same_file(self._descriptor, self._folder / self.name):
                return
            self.leave()  # the folder was deleted: nobody else can see this lock
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._folder / self.name, os.O_RDWR | os.O_CREAT, 0o600)
        # Another process may have taken the new file for that of an ended one, and deletes it.
        if not _locks(descriptor) or not _is_same_file(descriptor, self._folder / self.name):
            os.close(descriptor)
            raise BlockingIOError("the file of this process is being examined; the next attempt succeeds")
        self._descriptor = descriptor

    def leave(self) -> None:
        """Delete the file of this process and free its lock."""
        if self._descriptor >= 0:
            with suppress(OSError):
                (self._folder / self.name).unlink()
            os.close(self._descriptor)
            self._descriptor = -1

    def has_ended(self, name: str) -> bool:
        """Return whether a process has ended; then its file is deleted. Raise OSError."""
        if name == self.name:
            return False
        try:
            descriptor = os.open(self._folder / name, os.O_RDWR)
        except FileNotFoundError:
            return True
        try:
            if not _locks(descriptor):
                return False
            with suppress(FileNotFoundError):
                (self._folder / name).unlink()
            return True
        finally:
            os.close(descriptor)

    def clean(self) -> None:
        """Delete the files of ended processes."""
        for name in filter(NAME.fullmatch, os.listdir(self._folder)):
            self.has_ended(name)


def _locks(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
