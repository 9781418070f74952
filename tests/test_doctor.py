"""The doctor: each check of a good and of a bad installation, and the whole round with a real engine."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from app import doctor, layout
from app.cli import main
from app.doctor import Finding, Level
from app.engine.container import MEGABYTE
from app.settings import Settings
from tests.conftest import ENGINE, opened
from tests.integration.conftest import free_port
from tests.test_walls import HEAVY, PIXELS, modules_after

Machine = Callable[[int, int], None]
OK, WARN, FAIL = Level.OK, Level.WARN, Level.FAIL


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Pretend to be on a machine of given cores and MB."""

    def pretend(cores: int, memory_mb: int) -> None:
        for module in (doctor, layout):
            monkeypatch.setattr(module, "cpu_quota", lambda: cores)
            monkeypatch.setattr(module, "memory_limit", lambda: memory_mb * MEGABYTE)
        monkeypatch.setattr("app.settings.memory_limit", lambda: memory_mb * MEGABYTE)

    return pretend


def run() -> tuple[int, list[str]]:
    result = CliRunner().invoke(main, ["doctor"])
    return result.exit_code, result.output.splitlines()


def test_the_whole_round_with_a_real_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOST", "127.0.0.1")
    monkeypatch.setenv("PORT", str(free_port()))
    code, lines = run()
    names = [line.split()[1] for line in lines[:-2]]
    assert code == 0, lines
    assert names == (
        "python packages settings layout memory model models rembg decoders protections output port engine".split()
    )
    assert "lite on CPUExecutionProvider: ready in" in lines[-3]


def test_it_imports_no_pixels() -> None:
    assert modules_after("from app.doctor import examine; list(examine())") & (PIXELS | HEAVY) == set()


def test_bad_settings_are_one_line_and_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "none")
    monkeypatch.setenv("QUEUE_SIZE", "-1")
    code, lines = run()
    (line,) = (line for line in lines if line.startswith("FAIL"))
    assert (code, "PORT='none'" in line, "QUEUE_SIZE='-1'" in line, "docs/settings.md" in line) == (1, True, True, True)
    assert not any("Traceback" in line or " engine " in line for line in lines)


def test_a_bad_file_of_presets_is_a_bad_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRESETS_FILE", "/nowhere.json")
    code, lines = run()
    assert code == 1 and any(line.startswith("FAIL  settings") and "PRESETS_FILE" in line for line in lines)


@pytest.mark.parametrize(
    ("levels", "word"), [([OK, OK], "fine"), ([OK, WARN], "1 of 2 checks have a warning"), ([WARN, FAIL], "1 of 2 ch")]
)
def test_summary(levels: list[Level], word: str) -> None:
    assert word in doctor.summary([Finding(level, "name", "found") for level in levels])


def test_a_finding_says_what_to_do() -> None:
    assert str(Finding(FAIL, "port", "taken", "Set PORT.")) == "FAIL  port         taken -> Set PORT."


@pytest.mark.parametrize(("version", "level"), [((3, 11, 0), OK), ((3, 14, 1), OK), ((3, 10, 9), FAIL)])
def test_python(version: tuple[int, ...], level: Level) -> None:
    assert doctor.check_python(version).level is level


@pytest.mark.parametrize(
    ("pins", "level", "found"),
    [
        (f"flask=={metadata.version('flask')}  # why\n# a comment\n", OK, "1 of r.txt, as pinned"),
        (f"opencv-python-headless=={metadata.version('opencv-python-headless')}\n", OK, "1 of"),
        ("flask==0.1\n", WARN, f"flask {metadata.version('flask')}, not 0.1"),
        ("flask==0.1\nno-such-package==1\n", FAIL, "missing: no-such-package"),
    ],
)
def test_packages(pins: str, level: Level, found: str, tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_text(pins)
    finding = doctor.check_packages(tmp_path / "r.txt")
    assert finding.level is level and found in finding.found
    assert level is OK or finding.advice == "pip install -r r.txt"


def test_packages_without_requirements(tmp_path: Path) -> None:
    assert doctor.check_packages(tmp_path / "r.txt").level is WARN


def test_a_typing_error_in_the_env_file_is_noticed(tmp_path: Path) -> None:
    env = tmp_path / ".env"
    env.write_text("PORT=7000\nMAX_PIXLES=5\n")
    finding = doctor.check_settings(str(env))
    assert finding.level is WARN and finding.found.endswith("no settings: MAX_PIXLES")
    env.write_text("PORT=7000\n")
    assert doctor.check_settings(str(env)).level is OK
    assert doctor.check_settings(str(tmp_path / "none")).found == "valid"


@pytest.mark.parametrize(
    ("settings", "level", "found"),
    [
        ({}, OK, "2 cores, 4000 MB: 1 web worker with 2 engines of 1 thread, at most 600 MB each; memory profile std"),
        ({"memory_profile": "low"}, OK, "1 engine of 2 threads, at most 362 MB each; memory profile low"),
        ({"engine_processes": 5}, WARN, "5 engines of 1 thread"),
    ],
)
def test_layout(settings: dict[str, Any], level: Level, found: str, machine: Machine) -> None:
    machine(2, 4000)
    chosen = Settings(**settings)
    finding = doctor.check_layout(chosen, layout.engine_layout(chosen))
    assert finding.level is level and found.replace("std", "standard") in finding.found


@pytest.mark.parametrize(
    ("memory_mb", "settings", "level", "found"),
    [
        (512, {}, OK, "at most 512 MB of 512 MB"),
        (24_000, {}, OK, "at most 1910 MB of 24000 MB"),
        (512, {"memory_profile": "standard"}, WARN, "may take 914 MB of 512 MB"),
        (2000, {"engine_processes": 4, "engine_memory_mb": 600}, WARN, "may take 3110 MB of 2000 MB"),
        (512, {"model_name": "u2net"}, FAIL, "idle engines alone take 920 MB of 512 MB"),
        (24_000, {"engine_memory_mb": 100}, WARN, "a cap of 100 MB leaves"),
        (24_000, {"memory_warn_mb": 50}, WARN, "the mark of 50 MB"),
    ],
)
def test_memory(memory_mb: int, settings: dict[str, Any], level: Level, found: str, machine: Machine) -> None:
    machine(2, memory_mb)
    chosen = Settings(**settings)
    finding = doctor.check_memory(chosen, layout.engine_layout(chosen))
    assert finding.level is level and found in finding.found and bool(finding.advice) == (level is not OK)


def test_models(tmp_path: Path) -> None:
    home = str(tmp_path)
    assert doctor.check_default_model(Settings()).level is OK
    missing = doctor.check_default_model(Settings(model_name="u2netp", rembg_home=home))
    assert (missing.level, missing.advice) == (FAIL, "python -m app models pull u2netp")
    assert doctor.check_other_models(Settings()).level is OK
    others = Settings(models_allowed=("u2net", "u2netp"), rembg_home=home)
    assert doctor.check_other_models(others).advice.count("models pull") == 2
    for name in ("u2net", "u2netp"):
        folder = tmp_path / "models" / name
        folder.mkdir(parents=True)
        (folder / f"{name}.onnx").touch()
    assert doctor.check_other_models(others).found == "also here: u2net, u2netp"


@pytest.mark.parametrize(("allowed", "level"), [((), WARN), (("u2net",), FAIL)])
def test_rembg_is_missed_only_by_its_own_models(allowed: tuple[str, ...], level: Level, tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_text("no-such-rembg==2.0\n")
    finding = doctor.check_rembg(Settings(models_allowed=allowed), tmp_path / "r.txt")
    assert (finding.level, finding.advice) == (level, "pip install --no-deps -r r.txt")


def test_decoders(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.check_decoders().advice == ""
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    assert doctor.check_decoders().advice.endswith("pip install pillow-heif")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere some are always missing")
def test_protections(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert doctor.check_protections().level is OK
    monkeypatch.setenv("ENGINE_FAULTS", "1")
    assert "ENGINE_FAULTS" in doctor.check_protections().advice
    monkeypatch.delenv("ENGINE_FAULTS")
    monkeypatch.setattr(doctor, "PROC", tmp_path)
    finding = doctor.check_protections()
    assert finding.level is WARN and "RLIMIT_DATA" in finding.found and "oom_score_adj" in finding.found


def test_output(tmp_path: Path) -> None:
    assert doctor.check_output(tmp_path / "a/b").level is OK
    (tmp_path / "file").touch()
    assert doctor.check_output(tmp_path / "file").level is WARN
    assert doctor.check_output(tmp_path / "file/deeper").level is WARN


@contextmanager
def server(body: bytes) -> Iterator[int]:
    """Answer every GET with this body; yields the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
        yield running.server_port
        running.shutdown()


@pytest.mark.parametrize(
    ("body", "level", "found"),
    [
        (json.dumps({"status": "healthy", "name": "Cut"}).encode(), OK, "Cut answers on"),
        (json.dumps({"status": "degraded", "name": "Cut"}).encode(), WARN, ": degraded"),
        (b"<html>", FAIL, "taken by another program"),
        (b"[]", FAIL, "taken by another program"),
    ],
)
def test_a_port_that_is_taken(body: bytes, level: Level, found: str) -> None:
    with server(body) as port:
        finding = doctor.check_port(Settings(host="127.0.0.1", port=port))
    assert finding.level is level and found in finding.found


def test_a_port_that_is_free_and_an_address_that_is_not_ours() -> None:
    assert doctor.check_port(Settings(host="127.0.0.1", port=free_port())).level is OK
    finding = doctor.check_port(Settings(host="192.0.2.1"))
    assert finding.level is FAIL and "HOST" in finding.advice


def test_an_engine_without_weights(tmp_path: Path) -> None:
    finding = doctor.check_engine(replace(ENGINE, model="u2netp", rembg_home=str(tmp_path)))
    assert finding.level is FAIL and "MODEL_UNAVAILABLE" in finding.found and "models pull u2netp" in finding.advice


def test_an_engine_without_room() -> None:
    finding = doctor.check_engine(replace(ENGINE, memory_mb=64))
    assert finding.level is FAIL and finding.advice.startswith("Raise ENGINE_MEMORY_MB")


def test_an_engine_that_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    finding = doctor.check_engine(ENGINE)
    assert finding.level is FAIL and finding.found.startswith("no photo came out")


def test_the_small_photo_is_one() -> None:
    image = opened(doctor.small_photo())
    assert (image.size, image.mode, image.getpixel((32, 32))) == ((64, 64), "RGB", (230, 152, 92))
