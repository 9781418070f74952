"""Commands `models list` and `models pull`."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from app.cli.main import main
from app.engine.models import REGISTRY
from app.engine.rembg_entry import session_class
from tests.support.onnx_models import write_model


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REMBG_HOME", str(tmp_path))
    monkeypatch.delenv("U2NET_HOME", raising=False)
    monkeypatch.setenv("MODEL_CHECKSUM_DISABLED", "false")
    return tmp_path


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, arguments)
    return result.exit_code, result.output


def test_list_shows_name_size_licence_and_installed_models(home: Path) -> None:
    write_model(REGISTRY["u2net"], home)
    rows = {line.split()[0]: line for line in run("models", "list")[1].splitlines()[1:]}
    assert set(rows) == set(REGISTRY)
    installed = {name: rows[name].split()[3] for name in ("lite", "u2netp", "u2net", "silueta")}
    assert installed == {"lite": "embedded", "u2netp": "embedded", "u2net": "yes", "silueta": "no"}
    assert "176 MB" in rows["u2net"] and "Apache-2.0" in rows["u2net"]


@pytest.mark.parametrize("name", ["lite", "u2netp"])
def test_pulling_an_embedded_model_does_nothing(name: str) -> None:
    assert run("models", "pull", name) == (0, f"{name} is part of the service: nothing to download.\n")


def test_pulling_an_unknown_model_is_refused() -> None:
    code, output = run("models", "pull", "sam")
    assert code == 2 and "'sam' is not one of" in output


def test_pulling_downloads(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        session_class(REGISTRY["silueta"]), "download_models", lambda: write_model(REGISTRY["silueta"], home)
    )
    assert run("models", "pull", "silueta")[0] == 0
    assert (home / "models/silueta/silueta.onnx").is_file()


def test_a_failed_download_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise OSError("network is unreachable")

    monkeypatch.setattr(session_class(REGISTRY["silueta"]), "download_models", refuse)
    assert run("models", "pull", "silueta") == (1, "Error: silueta could not be downloaded: network is unreachable\n")
