"""Safe access to files in a folder by an untrusted path.

The path is checked as text first, then opened one component at a time relative to the parent's descriptor, so that
renaming or linking in the meantime cannot lead out of the folder.
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
MAX_NAME_BYTES, MAX_PATH_BYTES = 255, 4095

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# Without O_NONBLOCK, opening a FIFO waits for a writer.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

# Separators, drives and streams of Windows, control characters, and escapes that another decoder would turn into a
# separator or a dot.
_SUSPICIOUS = re.compile(r"[\\:\x00-\x1f\x7f]|%(?:2e|2f|5c|00|25)", re.IGNORECASE)


def open_below(folder: Path, path: str) -> BinaryIO | None:
    """Open a regular file below a folder for reading; return None if it does not exist; raise ForbiddenPath."""
    *parents, name = _components(path)
    with contextlib.ExitStack() as stack:
        try:
            current = _enter(stack, folder)
        except OSError:  # the operator's folder may be missing
            return None
        try:
            for parent in parents:
                current = _enter(stack, parent, current)
            return _open_regular(name, current)
        except FileNotFoundError:
            return None
        except OSError:  # a link, a file instead of a folder, a socket, no permission
            raise ForbiddenPath() from None


def _components(path: str) -> list[str]:
    """Split a relative path; raise ForbiddenPath unless all parts are plain names of visible files."""
    try:
        encoded = path.encode()
    except UnicodeEncodeError:  # a lone surrogate, which stands for a byte that is not UTF-8
        raise ForbiddenPath() from None
    # The path must stay the same under Unicode normalization: a full-width '/' would become a separator.
    normal = unicodedata.normalize("NFKC", path)
    if len(encoded) > MAX_PATH_BYTES or not (_is_plain(path) and _is_plain(normal)):
        raise ForbiddenPath()
    if normal.count("/") != path.count("/"):
        raise ForbiddenPath()
    return path.split("/")


def _is_plain(path: str) -> bool:
    return not _SUSPICIOUS.search(path) and all(
        part.strip() and not part.startswith((".", "~")) and len(part.encode()) <= MAX_NAME_BYTES
        for part in path.split("/")
    )


def _enter(stack: contextlib.ExitStack, folder: str | Path, parent: int | None = None) -> int:
    """Open a folder until the stack unwinds; a symbolic link only as the first folder."""
    flags = _FOLDER if parent is None else _FOLDER | os.O_NOFOLLOW
    descriptor = os.open(folder, flags, dir_fd=parent)
    stack.callback(os.close, descriptor)
    return descriptor


def _open_regular(name: str, parent: int) -> BinaryIO:
    # Checked before opening, since opening a device can have effects, and again after, when the file cannot be swapped.
    _check_regular(os.stat(name, dir_fd=parent, follow_symlinks=False))
    descriptor = os.open(name, _FILE, dir_fd=parent)
    try:
        _check_regular(os.fstat(descriptor))
        return open(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _check_regular(status: os.stat_result) -> None:
    # No hard links: a user with write access to the folder could link a file that they cannot read.
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        raise ForbiddenPath()
