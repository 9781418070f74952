"""Report of `doctor`: all checks with a real engine, invalid settings, lines and summary."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from app.cli.doctor.command import line, summary
from app.cli.doctor.findings import Finding, Level
from app.cli.main import main
from tests.support.loaded_modules import HEAVY, PIXELS, modules_after
from tests.support.service import free_port

OK, WARN, FAIL = Level.OK, Level.WARN, Level.FAIL


def run() -> tuple[int, list[str]]:
    result = CliRunner().invoke(main, ["doctor"])
    return result.exit_code, result.output.splitlines()


def test_all_checks_with_a_real_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOST", "127.0.0.1")
    monkeypatch.setenv("PORT", str(free_port()))
    code, lines = run()
    names = [line.split()[1] for line in lines[:-2]]
    assert code == 0, lines
    assert names == (
        (
            "python packages settings capacity memory model models rembg decoders protections"
            " output jobs redis port access engine"
        ).split()
    )
    assert "auto on CPUExecutionProvider: ready in" in lines[-3]


def test_it_imports_no_imaging_packages() -> None:
    assert modules_after("from app.cli.doctor.examination import examine; list(examine())") & (PIXELS | HEAVY) == set()


def test_invalid_settings_are_one_line_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "none")
    monkeypatch.setenv("QUEUE_SIZE", "-1")
    code, lines = run()
    (line,) = (line for line in lines if line.startswith("FAIL"))
    assert (code, "PORT='none'" in line, "QUEUE_SIZE='-1'" in line, "docs/settings.md" in line) == (1, True, True, True)
    assert not any("Traceback" in line or " engine " in line for line in lines)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("PRESETS_FILE", "/nowhere.json", "No such file"),
        ("API_KEYS_FILE", "/nowhere", "No such file"),
        ("API_KEYS_FILE", "LICENSE", "line 1"),
        ("LOG_FILE", "/dev/null/log", "Not a directory"),
        ("LOG_FILE", ".", "Is a directory"),
        ("PROMETHEUS_MULTIPROC_DIR", "/dev/null/metrics", "Not a directory"),
    ],
)
def test_what_prevents_the_start_is_a_failure(
    name: str, value: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    code, lines = run()
    (line,) = (line for line in lines if line.startswith("FAIL"))
    assert (code, line.split()[1], f"{name}=" in line, reason in line) == (1, "settings", True, True)


def test_a_bad_redis_url_is_an_invalid_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RATE_LIMIT_STORAGE", "redis")
    monkeypatch.setenv("REDIS_URL", "http://localhost:6379")
    code, lines = run()
    assert code == 1 and any(line.startswith("FAIL  settings") and "REDIS_URL" in line for line in lines)


@pytest.mark.parametrize(
    ("levels", "word"),
    [([OK, OK], "passed"), ([OK, WARN], "1 of 2 checks have a warning"), ([WARN, FAIL], "1 of 2 ch")],
)
def test_summary(levels: list[Level], word: str) -> None:
    assert word in summary([Finding(level, "name", "found") for level in levels])


def test_a_finding_includes_advice() -> None:
    assert line(Finding(FAIL, "port", "taken", "Set PORT.")) == "FAIL  port         taken -> Set PORT."
