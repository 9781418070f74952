"""The command `serve`: an empty WEB_CONCURRENCY is not set, an invalid one is a message."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from app.cli.main import main
from tests.support.configuration import ROOT


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Record executed programs instead of becoming them."""
    programs: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda path, arguments: programs.append(arguments))
    return programs


@pytest.mark.parametrize(("value", "passed_on"), [("", None), ("2", "2")])
def test_it_becomes_gunicorn(
    value: str, passed_on: str | None, executed: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", value)
    assert CliRunner().invoke(main, ["serve"]).exit_code == 0
    assert executed == [[sys.executable, "-m", "gunicorn", "app:create_app()"]]
    assert os.environ.get("WEB_CONCURRENCY") == passed_on


def test_an_invalid_number_of_workers_starts_nothing(
    executed: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", "many")
    result = CliRunner().invoke(main, ["serve"])
    assert result.exit_code == 1 and "Bad settings:\n  WEB_CONCURRENCY='many'" in result.output
    assert executed == []


def test_the_configuration_is_found_in_any_folder(
    executed: list[list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(main, ["serve"]).exit_code == 0
    assert executed[0][3:] == ["--config", str(ROOT / "gunicorn.conf.py"), "app:create_app()"]
