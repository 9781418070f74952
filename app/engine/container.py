"""What this process may use: CPU quota and memory limit of its container, else of the machine."""

from __future__ import annotations

import math
import os
from pathlib import Path

import psutil

__all__ = ["choose_layout", "cpu_quota", "memory_limit"]

CGROUP = Path("/sys/fs/cgroup")
MEGABYTE = 1024 * 1024


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _positive_int(text: str) -> int | None:
    return int(text) if text.isdecimal() and int(text) > 0 else None


def _own_cgroup(root: Path, proc: Path) -> Path:
    """Return the folder of this process's own cgroup v2, which need not be the root (systemd slices)."""
    for line in _read(proc).splitlines():
        if line.startswith("0::"):
            folder = root / line[3:].lstrip("/")
            return folder if folder.is_dir() else root
    return root


def cpu_quota(root: Path = CGROUP, proc: Path = Path("/proc/self/cgroup")) -> int:
    """Return how many cores may be used, at least 1: the affinity mask, narrowed by the cgroup's quota (v2, v1)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = _read(_own_cgroup(root, proc) / "cpu.max").partition(" ")
    if not quota:
        quota = _read(root / "cpu/cpu.cfs_quota_us")
        period = _read(root / "cpu/cpu.cfs_period_us")
    allowed, every = _positive_int(quota), _positive_int(period)
    return max(1, min(cores, math.ceil(allowed / every))) if allowed and every else cores


def memory_limit(root: Path = CGROUP, proc: Path = Path("/proc/self/cgroup")) -> int:
    """Return the bytes that may be used: the cgroup's limit (v2, v1) or the machine's memory, whichever is less."""
    total = int(psutil.virtual_memory().total)
    text = _read(_own_cgroup(root, proc) / "memory.max") or _read(root / "memory/memory.limit_in_bytes")
    return min(total, _positive_int(text) or total)


def choose_layout(cores: int, memory_mb: int, cap_mb: int) -> tuple[int, int]:
    """Return (engine processes, threads of each) for `cores`, the MB that engines may take and the cap of each.

    One engine per core gives the most photos a second, since decoding and encoding use one thread each; where memory
    does not reach for that many, the engines that fit share the cores.
    """
    fitting = memory_mb // cap_mb
    processes = max(1, min(cores, fitting))
    return processes, max(1, cores // processes)
