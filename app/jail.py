"""Open a file in a folder by a path that a stranger chose, and never anything else.

The path is judged as text first, then walked one component at a time from the folder's own descriptor, so that nothing
that is renamed or linked meanwhile leads out of it.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import unicodedata
from pathlib import Path
from typing import BinaryIO

from app.errors import ForbiddenPath

__all__ = ["open_below"]

# Limits of Linux, in bytes: NAME_MAX, and PATH_MAX with its final NUL.
LONGEST_NAME, LONGEST_PATH = 255, 4095

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# Without O_NONBLOCK, opening a FIFO waits for somebody to write to it.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

# Separators, drives and streams of Windows, control characters, and what a careless decoder in front would turn into a
# separator or a dot.
_SUSPICIOUS = re.compile(r"[\\:\x00-\x1f\x7f]|%(?:2e|2f|5c|00|25)", re.IGNORECASE)


def open_below(folder: Path, path: str) -> BinaryIO | None:
    """Open a regular file below a folder for reading; None when there is none. Raise ForbiddenPath."""
    *parents, name = _components(path)
    with contextlib.ExitStack() as stack:
        try:
            current = _enter(stack, folder)
        except OSError:  # the operator's own folder, which need not be there
            return None
        try:
            for parent in parents:
                current = _enter(stack, parent, current)
            return _open_regular(name, current)
        except FileNotFoundError:
            return None
        except OSError:  # a link, a file in a folder's place, a socket, no permission
            raise ForbiddenPath() from None


def _components(path: str) -> list[str]:
    """Take a relative path apart; raise ForbiddenPath for anything but plain names of visible files."""
    try:
        encoded = path.encode()
    except UnicodeEncodeError:  # a lone surrogate, which would stand for a byte that is no UTF-8
        raise ForbiddenPath() from None
    # What only looks harmless must not become something else for whoever normalises it behind us: a full-width '/'.
    normal = unicodedata.normalize("NFKC", path)
    if len(encoded) > LONGEST_PATH or not (_is_plain(path) and _is_plain(normal)):
        raise ForbiddenPath()
    if normal.count("/") != path.count("/"):
        raise ForbiddenPath()
    return path.split("/")


def _is_plain(path: str) -> bool:
    return not _SUSPICIOUS.search(path) and all(
        part.strip() and not part.startswith((".", "~")) and len(part.encode()) <= LONGEST_NAME
        for part in path.split("/")
    )


def _enter(stack: contextlib.ExitStack, folder: str | Path, parent: int | None = None) -> int:
    """Open a folder until the stack unwinds; below the first one never through a symbolic link."""
    flags = _FOLDER if parent is None else _FOLDER | os.O_NOFOLLOW
    descriptor = os.open(folder, flags, dir_fd=parent)
    stack.callback(os.close, descriptor)
    return descriptor


def _open_regular(name: str, parent: int) -> BinaryIO:
    # Looked at before it is opened, since opening a device may do something, and again when nothing can change it.
    _check_regular(os.stat(name, dir_fd=parent, follow_symlinks=False))
    descriptor = os.open(name, _FILE, dir_fd=parent)
    try:
        _check_regular(os.fstat(descriptor))
        return open(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _check_regular(status: os.stat_result) -> None:
    # Who may write to the folder, but not read a file elsewhere, could still give that file a second name in here.
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        raise ForbiddenPath()
