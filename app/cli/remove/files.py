"""Reading of photos, and writing of outputs: whole or not at all."""

from __future__ import annotations

import errno
import os
import uuid
from contextlib import suppress
from pathlib import Path

from app.cli.remove.outcomes import Failure
from app.errors import FileTooLarge
from app.imaging.formats import check_image

__all__ = ["is_newer", "read_photo", "write_whole"]

# Errors of writing that every further photo would meet.
FATAL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


def read_photo(path: Path, max_bytes: int) -> bytes:
    """Return a photo's bytes; raise Failure, EmptyFile, FileTooLarge or UnsupportedFormat."""
    try:
        with open(path, "rb", opener=_without_blocking) as file:
            data = file.read(max_bytes + 1)
            size = max(len(data), os.fstat(file.fileno()).st_size)
    except OSError as error:
        raise Failure("READ_FAILED", error.strerror or str(error)) from None
    if size > max_bytes:
        raise FileTooLarge(f"The file has {size} bytes.", solution=f"MAX_IMAGE_BYTES={size} allows it.")
    check_image(data, max_bytes)
    return data


def _without_blocking(path: str, flags: int) -> int:
    """Open a file; a pipe without a writer gives an empty file instead of waiting."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def is_newer(target: Path, source: Path) -> bool:
    """Return whether the output exists and is at least as new as its photo."""
    try:
        return target.stat().st_mtime_ns >= source.stat().st_mtime_ns
    except OSError:
        return False


def write_whole(path: Path, data: bytes) -> None:
    """Write a file under a temporary name in its folder, then rename it; raise Failure, without leaving a part."""
    part = path.with_name(f".background-remover-{uuid.uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)
        part.replace(path)
    except OSError as error:
        raise Failure("WRITE_FAILED", error.strerror or str(error), fatal=error.errno in FATAL) from None
    finally:
        with suppress(OSError):
            part.unlink()
