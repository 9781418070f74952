"""CPU quota and memory limit of the container, else of the machine; numbers of engines and threads."""

from __future__ import annotations

import math
import os
from pathlib import Path

__all__ = ["MEGABYTE", "choose_processes", "choose_threads", "cpu_quota", "memory_limit"]

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
    """Return the folders of this process's cgroup v2 and of its parents (systemd slices), up to the root."""
    own = next((line[3:].strip("/") for line in _read(proc).splitlines() if line.startswith("0::")), "")
    return [root / Path(*own.split("/")[:depth]) for depth in range(len(own.split("/")), 0, -1)] + [root]


def cpu_quota(root: Path = CGROUP, proc: Path = Path("/proc/self/cgroup")) -> int:
    """Return the number of usable cores, at least 1: the affinity mask, limited by the cgroups' quotas (v2, v1)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [_read(folder / "cpu.max") for folder in _cgroups(root, proc)]
    quotas.append(f"{_read(root / 'cpu/cpu.cfs_quota_us')} {_read(root / 'cpu/cpu.cfs_period_us')}")
    for quota in quotas:
        allowed, _, period = quota.partition(" ")
        if (share := _positive_int(allowed)) and (every := _positive_int(period)):
            cores = min(cores, math.ceil(share / every))
    return max(1, cores)


def memory_limit(root: Path = CGROUP, proc: Path = Path("/proc/self/cgroup")) -> int:
    """Return the usable memory in bytes: the minimum of the cgroups' limits (v2, v1) and the machine's memory."""
    import psutil  # takes 2 MB, and engines import this module too

    limits = [_read(folder / "memory.max") for folder in _cgroups(root, proc)]
    limits.append(_read(root / "memory/memory.limit_in_bytes"))
    known = [limit for limit in map(_positive_int, limits) if limit]
    return min([int(psutil.virtual_memory().total), *known])


def choose_processes(cores: int, memory_mb: int, cap_mb: int) -> int:
    """Return the number of engines for so many cores, so much memory in total, and the memory cap of each.

    One engine per core gives the highest throughput, since decoding and encoding use one thread each.
    """
    return max(1, min(cores, memory_mb // cap_mb))


def choose_threads(cores: int, processes: int, *, heavy: bool) -> int:
    """Return the number of inference threads of each engine.

    The engines share the cores. With a heavy model each gets twice its share: inference takes two thirds of the time
    while the other engines are idle, and a tenth of the throughput is lost while all are busy. A light model is loaded
    twice instead, once for each case.
    """
    share = max(1, cores // processes)
    return min(cores, 2 * share) if heavy else share
