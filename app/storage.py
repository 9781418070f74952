"""Saved results: files under generated names, and their clean-up."""

from __future__ import annotations

import logging
import os
import re
import threading
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

__all__ = ["Sweeper", "save", "sweep"]

log = logging.getLogger(__name__)

# Only files with such names are deleted, never an operator's photos.
RESULT_NAME = re.compile(r"background-removed-[0-9a-f]{32}\.(?:png|jpg|webp|zip)(?:\.part)?", re.ASCII)
HOUR = 3600.0


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


def sweep(folders: Sequence[Path], max_age_seconds: float) -> int:
    """Delete results older than `max_age_seconds`, incomplete ones included, and return their number."""
    oldest = time.time() - max_age_seconds
    return sum(_delete_if_old(path, oldest) for folder in folders for path in _results_in(folder))


def _results_in(folder: Path) -> list[Path]:
    try:
        return [Path(entry) for entry in os.scandir(folder) if RESULT_NAME.fullmatch(entry.name)]
    except OSError:  # the folder does not exist yet
        return []


def _delete_if_old(path: Path, oldest: float) -> bool:
    try:
        if path.is_symlink() or path.stat().st_mtime >= oldest:
            return False
        path.unlink()
    except OSError as error:  # deleted by another worker, or no permission
        log.debug("not deleted: %s", error)
        return False
    return True


class Sweeper:
    """Thread that sweeps at start and every hour."""

    def __init__(self, folders: Sequence[Path], max_age_seconds: float) -> None:
        self._folders = folders
        self._max_age = max_age_seconds
        self._stopped = threading.Event()

    def start(self) -> None:
        """Start the thread."""
        threading.Thread(target=self._run, name="sweeper", daemon=True).start()

    def stop(self) -> None:
        """Stop the thread."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.is_set():
            if count := sweep(self._folders, self._max_age):
                log.info("cleanup.swept files=%d", count)
            self._stopped.wait(HOUR)
