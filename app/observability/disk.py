"""Free disk space of the folders that the service writes to."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from app.engine.container import MEGABYTE

__all__ = ["DiskSpace", "least_space"]

Level = Literal["OK", "WARNING", "CRITICAL"]
WARNING_SHARE, CRITICAL_SHARE = 0.10, 0.05


@dataclass(frozen=True, slots=True)
class DiskSpace:
    """Free and total bytes of a file system, as its unprivileged users see them."""

    free: int
    total: int

    @property
    def share(self) -> float:
        """Return the free share, 0 to 1; 1 for a file system that reports no size."""
        return self.free / self.total if self.total else 1.0

    @property
    def free_mb(self) -> int:
        """Return the free space in MB."""
        return self.free // MEGABYTE

    @property
    def level(self) -> Level:
        """Return CRITICAL if less than 5 % are free, WARNING if less than 10 %, else OK."""
        return "CRITICAL" if self.share < CRITICAL_SHARE else "WARNING" if self.share < WARNING_SHARE else "OK"


def least_space(folders: Iterable[Path]) -> DiskSpace | None:
    """Return the space of the fullest file system of these folders, None if none can be read.

    A folder that does not exist yet counts as the nearest one above it.
    """
    return min(filter(None, map(_space, folders)), key=lambda space: space.share, default=None)


def _space(folder: Path) -> DiskSpace | None:
    for path in (folder.absolute(), *folder.absolute().parents):
        try:
            usage = shutil.disk_usage(path)
        except FileNotFoundError:
            continue
        except OSError:  # no permission, or a file where a folder should be
            return None
        return DiskSpace(usage.free, usage.used + usage.free)  # without the blocks that are reserved for root
    return None
