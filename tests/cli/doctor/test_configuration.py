"""Checks of valid and invalid settings."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app import capacity
from app.cli.doctor import configuration
from app.cli.doctor.findings import Level
from app.engine.container import MEGABYTE
from app.settings import Settings
from tests.support.configuration import ROOT

Machine = Callable[[int, int], None]
OK, WARN, FAIL = Level.OK, Level.WARN, Level.FAIL


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Simulate a machine with given cores and MB."""

    def simulate(cores: int, memory_mb: int) -> None:
        for module in (configuration, capacity):
            monkeypatch.setattr(module, "cpu_quota", lambda: cores)
            monkeypatch.setattr(module, "memory_limit", lambda: memory_mb * MEGABYTE)
        monkeypatch.setattr("app.settings.memory_limit", lambda: memory_mb * MEGABYTE)

    return simulate


def test_a_typing_error_in_the_env_file_is_reported(tmp_path: Path) -> None:
    env = tmp_path / ".env"
    env.write_text("PORT=7000\nMAX_PIXLES=5\n")
    finding = configuration.check_settings(str(env))
    assert finding.level is FAIL and finding.found.endswith("misspelt settings: MAX_PIXLES (MAX_PIXELS?)")
    env.write_text("PORT=7000\nCOLOUR=red\nmax_pixels=5\n")
    finding = configuration.check_settings(str(env))
    assert finding.level is WARN and finding.found.endswith("unknown settings: COLOUR")
    env.write_text("PORT=7000\n")
    assert configuration.check_settings(str(env)).level is OK
    assert configuration.check_settings(str(tmp_path / "none")).found == "valid"


@pytest.mark.parametrize(
    ("settings", "level", "found"),
    [
        ({}, OK, "2 cores, 4000 MB: 1 web worker with 2 engines of 1 thread, at most 600 MB each; memory profile std"),
        ({"memory_profile": "low"}, OK, "1 engine of 2 threads, at most 362 MB each; memory profile low"),
        ({"engine_processes": 5}, WARN, "5 engines of 1 thread"),
    ],
)
def test_capacity(settings: dict[str, Any], level: Level, found: str, machine: Machine) -> None:
    machine(2, 4000)
    chosen = Settings(**settings)
    finding = configuration.check_capacity(chosen, capacity.plan_capacity(chosen))
    assert finding.level is level and found.replace("std", "standard") in finding.found


@pytest.mark.parametrize(
    ("memory_mb", "settings", "level", "found"),
    [
        (512, {}, OK, "at most 512 MB of 512 MB"),
        (24_000, {}, OK, "at most 1910 MB of 24000 MB"),
        (512, {"memory_profile": "standard"}, WARN, "may use 1044 MB of 512 MB"),
        (2000, {"engine_processes": 4, "engine_memory_mb": 600}, WARN, "may use 3110 MB of 2000 MB"),
        (512, {"model_name": "u2net"}, FAIL, "idle engines alone use 920 MB of 512 MB"),
        (24_000, {"engine_memory_mb": 100}, WARN, "a cap of 100 MB leaves"),
        (24_000, {"memory_warn_mb": 50}, WARN, "MEMORY_WARN_MB of 50 MB"),
    ],
)
def test_memory(memory_mb: int, settings: dict[str, Any], level: Level, found: str, machine: Machine) -> None:
    machine(2, memory_mb)
    chosen = Settings(**settings)
    finding = configuration.check_memory(chosen, capacity.plan_capacity(chosen))
    assert finding.level is level and found in finding.found and bool(finding.advice) == (level is not OK)


def test_variables_of_compose_are_known(tmp_path: Path) -> None:
    compose = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    names = {*re.findall(r"\$\{(\w+)", compose), "COMPOSE_PROFILES"}
    assert names - {name.upper() for name in Settings.model_fields} == configuration.COMPOSE_VARIABLES
    (tmp_path / ".env").write_text("".join(f"{name}=x\n" for name in configuration.COMPOSE_VARIABLES))
    assert configuration.check_settings(str(tmp_path / ".env")).level is OK


def test_damaged_weights(tmp_path: Path) -> None:
    folder = tmp_path / "models/u2net"
    folder.mkdir(parents=True)
    (folder / "u2net.onnx").write_bytes(b"truncated")
    (folder / "u2net.onnx.sha256").write_text(f"{'0' * 64}  u2net.onnx\n")
    home = str(tmp_path)
    default = configuration.check_default_model(Settings(model_name="u2net", rembg_home=home))
    other = configuration.check_other_models(Settings(models_allowed=("u2net",), rembg_home=home))
    assert (default.level, default.name, other.level, other.name) == (FAIL, "model", FAIL, "models")
    assert "damaged" in default.found and "models pull u2net" in other.advice


def test_models(tmp_path: Path) -> None:
    home = str(tmp_path)
    assert configuration.check_default_model(Settings()).level is OK
    missing = configuration.check_default_model(Settings(model_name="silueta", rembg_home=home))
    assert (missing.level, missing.advice) == (FAIL, "python -m app models pull silueta")
    assert configuration.check_other_models(Settings()).level is OK
    others = Settings(models_allowed=("u2net", "silueta"), rembg_home=home)
    assert configuration.check_other_models(others).advice.count("models pull") == 2
    for name in ("u2net", "silueta"):
        folder = tmp_path / "models" / name
        folder.mkdir(parents=True)
        (folder / f"{name}.onnx").touch()
    assert configuration.check_other_models(others).found == "also installed: u2net, silueta"
