"""A memory cgroup for the tests, version 1 or 2: the limit of a container, enforced by the kernel."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["CgroupUnavailable", "MemoryCgroup", "memory_cgroup"]

ROOT = Path("/sys/fs/cgroup")


class CgroupUnavailable(Exception):
    """No memory cgroup can be made here."""


@dataclass(frozen=True)
class MemoryCgroup:
    """A cgroup with a limit of memory and without swap."""

    folder: Path
    events: str

    @property
    def entry(self) -> Sequence[str]:
        """Return the start of a command that runs the rest of the command inside."""
        return ("sh", "-c", f'echo $$ > {self.folder}/cgroup.procs && exec "$0" "$@"')

    @property
    def oom_kills(self) -> int:
        """Return the number of processes that the kernel's OOM killer has ended inside."""
        lines = dict(line.split() for line in (self.folder / self.events).read_text().splitlines())
        return int(lines["oom_kill"])


@contextmanager
def memory_cgroup(limit: int) -> Iterator[MemoryCgroup]:
    """Make a cgroup with a limit in bytes, removed after its processes have ended; raise CgroupUnavailable."""
    version_1 = (ROOT / "memory").is_dir()
    folder = (ROOT / "memory" if version_1 else ROOT) / f"background-remover-{uuid.uuid4().hex[:8]}"
    try:
        folder.mkdir()
    except OSError as error:
        raise CgroupUnavailable(f"{folder.parent}: {error.strerror}") from error
    try:
        _set_limit(folder, limit, version_1=version_1)
        yield MemoryCgroup(folder, "memory.oom_control" if version_1 else "memory.events")
    finally:
        with contextlib.suppress(OSError):  # a process of a failed test is still inside
            folder.rmdir()


def _set_limit(folder: Path, limit: int, *, version_1: bool) -> None:
    names = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes") if version_1 else ("memory.max", "memory.swap.max")
    limits, swaps = (folder / name for name in names)
    try:
        os.stat(limits)  # the root does not give the memory controller to its children in a container
        limits.write_text(str(limit))
        if swaps.exists():
            swaps.write_text(str(limit) if version_1 else "0")
        (folder / "cgroup.procs").read_text()
    except OSError as error:
        raise CgroupUnavailable(f"{limits}: {error.strerror}") from error
