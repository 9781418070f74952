"""Installation of programs by one process of the tests at a time."""

from __future__ import annotations

import fcntl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["installing"]


@contextmanager
def installing() -> Iterator[None]:
    """Hold a lock for the block: package managers fail beside another instance of themselves."""
    with (Path(tempfile.gettempdir()) / "background-remover-tests.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
