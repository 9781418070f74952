"""Start of every command: settings for rembg, and an error for invalid settings."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from app.cli.main import main
from app.engine.models import REGISTRY
from app.engine.rembg_entry import session_class
from app.settings import package_version


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, arguments)
    return result.exit_code, result.output


def test_the_version_is_that_of_the_service() -> None:
    assert run("--version") == (0, f"Background Remover API, version {package_version()}\n")


@pytest.mark.parametrize("command", [[], ["remove"], ["models", "list"]])
def test_the_short_option_shows_help(command: list[str]) -> None:
    assert run(*command, "-h") == run(*command, "--help")


@pytest.mark.parametrize(("value", "disabled"), [("false", False), ("true", True), ("", False)])
def test_checksums_are_disabled_only_on_request(value: str, disabled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_CHECKSUM_DISABLED", value)
    run("models", "list")
    assert session_class(REGISTRY["u2net"]).checksum_disabled() is disabled


def test_invalid_settings_stop_a_command_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "none")
    code, output = run("models", "list")
    assert code == 1 and "PORT='none'" in output
