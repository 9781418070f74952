"""Saved results: files under generated names, and their clean-up."""

from __future__ import annotations

import errno
import logging
import os
import re
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from app.file_names import EXTENSIONS
from app.periodic import PeriodicThread

__all__ = ["Sweeper", "save", "sweep", "write_problem"]

log = logging.getLogger(__name__)

# Only files with such names are deleted, never an operator's photos, except in folders of `uploads`.
RESULT_NAME = re.compile(rf"background-removed-[0-9a-f]{{32}}\.(?:{'|'.join(EXTENSIONS.values())})(?:\.part)?")


def save(data: bytes, extension: str, folder: Path) -> str:
    """Save a result atomically in a folder and return its file name; raise OSError."""
    name = f"background-removed-{uuid.uuid4().hex}.{extension}"
    part = folder / f"{name}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)
        part.replace(folder / name)
    except OSError:
        with suppress(OSError):
            part.unlink()
        raise
    return name


def write_problem(file: Path) -> str:
    """Return why this process cannot write a file, empty if it can; creates nothing.

    Missing folders count as writable if the nearest existing one above them is.
    """
    path = next(path for path in (file.absolute(), *file.absolute().parents) if os.path.exists(path))
    if path == file.absolute():
        code = errno.EISDIR if path.is_dir() else 0 if os.access(path, os.W_OK) else errno.EACCES
    else:
        code = errno.ENOTDIR if not path.is_dir() else 0 if os.access(path, os.W_OK | os.X_OK) else errno.EACCES
    return os.strerror(code) if code else ""


def sweep(results: Sequence[Path], max_age_seconds: float, uploads: Sequence[Path] = ()) -> int:
    """Delete old files and return their number.

    In folders of `results`: saved results, incomplete ones included. In folders of `uploads` and below: every file
    except hidden ones, whatever its name. Links and folders stay.
    """
    oldest = time.time() - max_age_seconds
    paths = [path for folder in results for path in _results_in(folder)]
    paths += [path for folder in uploads for path in _files_below(folder)]
    return sum(_delete_if_old(path, oldest) for path in paths)


def _results_in(folder: Path) -> list[Path]:
    try:
        return [Path(entry) for entry in os.scandir(folder) if RESULT_NAME.fullmatch(entry.name)]
    except OSError:  # the folder does not exist yet
        return []


def _files_below(folder: Path) -> list[Path]:
    return [Path(parent, name) for parent, _, names in os.walk(folder) for name in names if not name.startswith(".")]


def _delete_if_old(path: Path, oldest: float) -> bool:
    try:
        if path.is_symlink() or path.stat().st_mtime >= oldest:
            return False
        path.unlink()
    except OSError as error:  # deleted by another worker, or no permission
        log.debug("not deleted: %s", error)
        return False
    return True


class Sweeper(PeriodicThread):
    """Thread that sweeps at start and every hour."""

    name, seconds = "sweeper", 3600.0

    def __init__(self, results: Sequence[Path], max_age_seconds: float, uploads: Sequence[Path] = ()) -> None:
        super().__init__()
        self._results, self._uploads = results, uploads
        self._max_age = max_age_seconds

    def work(self) -> None:
        """Sweep once."""
        if count := sweep(self._results, self._max_age, self._uploads):
            log.info("cleanup.swept files=%d", count)
