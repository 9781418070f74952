"""Number of engines, and cap of each, from settings, cores and memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app import capacity
from app.capacity import BODY_COPIES, WEB_MB, max_buffered_bytes, max_memory_mb, plan_capacity, web_threads
from app.engine.container import MEGABYTE
from app.settings import Settings

Machine = Callable[[int, int], None]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Simulate a machine with given cores and MB."""

    def simulate(cores: int, memory_mb: int) -> None:
        monkeypatch.setattr(capacity, "cpu_quota", lambda: cores)
        monkeypatch.setattr(capacity, "memory_limit", lambda: memory_mb * MEGABYTE)
        monkeypatch.setattr("app.settings.memory_limit", lambda: memory_mb * MEGABYTE)

    return simulate


@pytest.mark.parametrize(
    ("cores", "memory_mb", "settings", "processes", "threads", "cap"),
    [
        (2, 24_000, {}, 2, 1, 600),
        (8, 24_000, {}, 8, 1, 600),
        (8, 3_000, {}, 3, 2, 600),
        (2, 512, {}, 1, 2, 362),
        (2, 1200, {}, 1, 2, 600),
        (2, 1300, {}, 1, 2, 590),
        (2, 24_000, {"memory_profile": "low"}, 1, 2, 362),
        (2, 512, {"memory_profile": "standard"}, 1, 2, 334),
        (2, 512, {"memory_profile": "standard", "model_name": "lite", "models_allowed": ("lite",)}, 1, 2, 204),
        (2, 24_000, {"model_name": "u2netp", "models_allowed": ("u2netp",)}, 2, 1, 600),
        (4, 24_000, {"web_concurrency": 2}, 2, 1, 600),
        (2, 24_000, {"engine_processes": 1}, 1, 2, 600),
        (2, 24_000, {"engine_threads": 3}, 2, 3, 600),
        (2, 24_000, {"engine_memory_mb": 300}, 2, 1, 300),
        (2, 24_000, {"models_allowed": ("u2net",)}, 2, 2, 1310),
        (4, 4_000, {"model_name": "birefnet-general"}, 1, 4, 6064),
    ],
)
def test_engines_threads_and_caps(
    cores: int, memory_mb: int, settings: dict[str, Any], processes: int, threads: int, cap: int, machine: Machine
) -> None:
    machine(cores, memory_mb)
    chosen = plan_capacity(Settings(**settings))
    assert (chosen.engines, chosen.config.threads, chosen.config.memory_mb) == (processes, threads, cap)
    assert chosen.config.memory_warn_mb == int(cap * 0.8)


@pytest.mark.parametrize(
    ("cores", "settings", "threads", "alone"),
    [
        (2, {}, 1, 2),
        (2, {"model_name": "u2netp"}, 1, 2),
        (2, {"model_name": "u2net"}, 2, 2),
        (16, {}, 1, 8),
        (2, {"engine_threads": 1}, 1, 1),
    ],
)
def test_an_engine_that_works_alone_uses_the_other_cores(
    cores: int, settings: dict[str, Any], threads: int, alone: int, machine: Machine
) -> None:
    machine(cores, 64_000)
    config = plan_capacity(Settings(**settings)).config
    assert (config.threads, config.threads_alone) == (threads, alone)


@pytest.mark.parametrize(
    ("memory_mb", "settings", "low"),
    [
        (24_000, {}, False),
        (512, {}, True),
        (1200, {}, True),
        (1201, {}, False),
        (24_000, {"memory_profile": "LOW"}, True),
        (512, {"memory_profile": "standard"}, False),
    ],
)
def test_memory_profile(memory_mb: int, settings: dict[str, Any], low: bool, machine: Machine) -> None:
    machine(2, memory_mb)
    chosen = Settings(**settings)
    assert chosen.low_memory is low
    assert (chosen.queue_size, chosen.max_concurrent_uploads, chosen.max_dimension) == (
        (8, 2, 800) if low else (32, 16, 2048)
    )


def test_a_setting_overrides_the_profile(machine: Machine) -> None:
    machine(2, 512)
    assert Settings(queue_size=20).queue_size == 20


def test_there_are_more_threads_than_admitted_photos(machine: Machine) -> None:
    machine(2, 24_000)
    assert web_threads(Settings()) == 2 + 32 + 16
    assert web_threads(Settings(web_threads=9)) == 9


@pytest.mark.parametrize(("url", "more"), [(None, 0), ("redis://h", 0), ("memory://", 2 * 300)])
def test_a_cache_in_memory_counts_for_each_worker(url: str | None, more: int) -> None:
    plain = Settings(web_concurrency=2, engine_engines=1, engine_memory_mb=500)
    settings = Settings(web_concurrency=2, engine_engines=1, engine_memory_mb=500, cache_url=url, cache_max_mb=300)
    engines = plan_capacity(plain)
    assert max_memory_mb(settings, engines) - max_memory_mb(plain, engines) == more


@pytest.mark.parametrize(("uploads", "bodies"), [(1, 2), (2, 2), (16, 16)])
def test_memory_is_reserved_for_all_that_connections_hold(uploads: int, bodies: int) -> None:
    settings = Settings(max_concurrent_uploads=uploads, max_content_length=10 * MEGABYTE)
    assert max_buffered_bytes(settings) == bodies * 10 * MEGABYTE
    engines = plan_capacity(settings)
    web = max_memory_mb(settings, engines) - engines.engines * engines.config.memory_mb
    assert web == WEB_MB + bodies * 10 * BODY_COPIES


def test_engines_leave_memory_for_the_cache(machine: Machine) -> None:
    machine(16, 4000)
    without = plan_capacity(Settings(memory_profile="standard")).engines
    assert (
        plan_capacity(Settings(memory_profile="standard", cache_url="memory://", cache_max_mb=1200)).engines < without
    )


def test_engines_get_format_and_file_of_the_log(tmp_path: Path) -> None:
    config = plan_capacity(Settings(log_format="json", log_file=tmp_path / "log")).config
    assert (config.log_format, config.log_file) == ("json", str(tmp_path / "log"))


def test_drivers_of_a_provider_get_memory(machine: Machine) -> None:
    machine(1, 16_000)
    plain, gpu = (
        plan_capacity(Settings(execution_providers=names)).config
        for names in (("CPUExecutionProvider",), ("CUDAExecutionProvider",))
    )
    assert gpu.memory_mb == plain.memory_mb + 1500
    assert gpu.providers == ("CUDAExecutionProvider",)
