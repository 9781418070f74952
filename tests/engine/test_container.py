"""Quota and limit of the container, and the numbers of engines and threads."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from app.engine.container import MEGABYTE, choose_processes, choose_threads, cpu_quota, memory_limit

CORES = len(os.sched_getaffinity(0))
TOTAL = psutil.virtual_memory().total


def tree(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, CORES),
        ({"cpu.max": "max 100000"}, CORES),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "100000 100000"}, 1),
        ({"cpu.max": "nonsense"}, CORES),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, CORES),
        ({"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, 1),
        ({"own/cpu.max": "100000 100000", "cpu.max": "max 100000", "proc": "0::/own"}, 1),
        ({"cpu.max": "100000 100000", "proc": "0::/elsewhere"}, 1),
        ({"a/cpu.max": "100000 100000", "a/b/cpu.max": "max 100000", "proc": "0::/a/b"}, 1),
    ],
)
def test_cpu_quota_is_read_from_cgroups(files: dict[str, str], cores: int, tmp_path: Path) -> None:
    assert cpu_quota(tree(tmp_path, files), tmp_path / "proc") == cores


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({}, TOTAL),
        ({"memory.max": "max"}, TOTAL),
        ({"memory.max": str(512 * MEGABYTE)}, 512 * MEGABYTE),
        ({"memory.max": str(2**62)}, TOTAL),
        ({"memory/memory.limit_in_bytes": str(256 * MEGABYTE)}, 256 * MEGABYTE),
        ({"own/memory.max": str(64 * MEGABYTE), "proc": "0::/own"}, 64 * MEGABYTE),
        ({"a/memory.max": str(64 * MEGABYTE), "a/b/memory.max": "max", "proc": "0::/a/b"}, 64 * MEGABYTE),
    ],
)
def test_memory_limit_is_read_from_cgroups(files: dict[str, str], limit: int, tmp_path: Path) -> None:
    assert memory_limit(tree(tmp_path, files), tmp_path / "proc") == limit


@pytest.mark.parametrize(
    ("cores", "memory_mb", "model_mb", "processes"),
    [(2, 24_000, 200, 2), (2, 300, 200, 1), (8, 600, 200, 3), (64, 0, 200, 1), (4, 2_000, 6_000, 1)],
)
def test_engines_are_limited_by_cores_and_memory(cores: int, memory_mb: int, model_mb: int, processes: int) -> None:
    assert choose_processes(cores, memory_mb, model_mb) == processes


@pytest.mark.parametrize(
    ("cores", "processes", "light", "heavy"),
    [(1, 1, 1, 1), (2, 2, 1, 2), (2, 1, 2, 2), (8, 3, 2, 4), (8, 8, 1, 2), (64, 1, 64, 64), (2, 5, 1, 2)],
)
def test_engines_share_the_cores_and_get_twice_their_share_for_heavy_models(
    cores: int, processes: int, light: int, heavy: int
) -> None:
    chosen = [choose_threads(cores, processes, heavy=of) for of in (False, True)]
    assert chosen == [light, heavy]
