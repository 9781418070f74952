"""What this process may use: CPU quota and memory limit of its container, else of the machine."""

from __future__ import annotations

import math
import os
from pathlib import Path

__all__ = ["choose_processes", "choose_threads", "cpu_quota", "memory_limit"]

CGROUP = Path("/sys/fs/cgroup")
MEGABYTE = 1024 * 1024


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _positive_int(text: str) -> int | None:
    return int(text) if text.isdecimal() and int(text) > 0 else None


def _cgroups(root: Path, proc: Path) -> list[Path]:
    """Return the folders of this process's own cgroup v2 and of those around it (systemd slices), up to the root."""
    own = next((line[3:].strip("/") for line in _read(proc).splitlines() if line.startswith("0::")), "")
    return [root / Path(*own.split("/")[:depth]) for depth in range(len(own.split("/")), 0, -1)] + [root]


def cpu_quota(root: Path = CGROUP, proc: Path = Path("/proc/self/cgroup")) -> int:
    """Return how many cores may be used, at least 1: the affinity mask, narrowed by the cgroups' quotas (v2, v1)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [_read(folder / "cpu.max") for folder in _cgroups(root, proc)]
    quotas.append(f"{_read(root / 'cpu/cpu.cfs_quota_us')} {_read(root / 'cpu/cpu.cfs_period_us')}")
    for quota in quotas:
        allowed, _, period = quota.partition(" ")
        if (share := _positive_int(allowed)) and (every := _positive_int(period)):
            cores = min(cores, math.ceil(share / every))
    return max(1, cores)


def memory_limit(root: Path = CGROUP, proc: Path = Path("/proc/self/cgroup")) -> int:
    """Return the bytes that may be used: the least of the cgroups' limits (v2, v1) and the machine's memory."""
    import psutil  # 2 MB that an engine, which reads this file too, need not have

    limits = [_read(folder / "memory.max") for folder in _cgroups(root, proc)]
    limits.append(_read(root / "memory/memory.limit_in_bytes"))
    known = [limit for limit in map(_positive_int, limits) if limit]
    return min([int(psutil.virtual_memory().total), *known])


def choose_processes(cores: int, memory_mb: int, cap_mb: int) -> int:
    """Return how many engines to run on `cores`, from the MB that they may take and the cap of each.

    One engine per core gives the most photos a second, since decoding and encoding use one thread each.
    """
    return max(1, min(cores, memory_mb // cap_mb))


def choose_threads(cores: int, processes: int, *, heavy: bool) -> int:
    """Return how many threads each of some engines should infer with.

    They share the cores. With a heavy model each gets twice its share: alone it answers in two thirds of the time, and
    when all are busy that costs a tenth of the throughput. Light ones are loaded twice instead, and lose nothing.
    """
    share = max(1, cores // processes)
    return min(cores, 2 * share) if heavy else share
