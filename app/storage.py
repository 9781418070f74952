"""Files that this service makes: results that were asked to be kept, under names of its own, and their clean-up."""

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

# Only files with such names are ever deleted: never an operator's photos.
OUR_NAME = re.compile(r"background-removed-[0-9a-f]{32}\.(?:png|jpg|webp|zip)(?:\.part)?", re.ASCII)
HOUR = 3600.0


def save(data: bytes, extension: str, folder: Path) -> str:
    """Keep a result in a folder, whole or not at all, and return the name it got; raise OSError when it can't be."""
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
    """Delete the files of ours that are older than this and return how many; what a crash left half written too."""
    oldest = time.time() - max_age_seconds
    return sum(_delete_if_old(path, oldest) for folder in folders for path in _ours_in(folder))


def _ours_in(folder: Path) -> list[Path]:
    try:
        return [Path(entry) for entry in os.scandir(folder) if OUR_NAME.fullmatch(entry.name)]
    except OSError:  # not there yet
        return []


def _delete_if_old(path: Path, oldest: float) -> bool:
    try:
        if path.is_symlink() or path.stat().st_mtime >= oldest:
            return False
        path.unlink()
    except OSError as error:  # another worker was faster, or it is not ours to delete
        log.debug("not deleted: %s", error)
        return False
    return True


class Sweeper:
    """Sweep at start and every hour, in a thread of its own."""

    def __init__(self, folders: Sequence[Path], max_age_seconds: float) -> None:
        self._folders = folders
        self._max_age = max_age_seconds
        self._stopped = threading.Event()

    def start(self) -> None:
        """Start sweeping; returns at once."""
        threading.Thread(target=self._run, name="sweeper", daemon=True).start()

    def stop(self) -> None:
        """Sweep no more."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.is_set():
            if count := sweep(self._folders, self._max_age):
                log.info("cleanup.swept files=%d", count)
            self._stopped.wait(HOUR)
