"""Weights are looked for where rembg keeps them, and fetched only on demand."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.engine import weights
from app.engine.models import REGISTRY
from app.engine.rembg_entry import session_class
from app.errors import ModelUnavailable
from tests.support.onnx_models import write_model

U2NET = REGISTRY["u2net"]


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("U2NET_HOME", "REMBG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def test_the_embedded_model_is_always_here() -> None:
    path = weights.find(REGISTRY["lite"])
    assert path is not None and path.stat().st_size > 1_000_000


def test_missing_weights_name_the_command_that_fetches_them() -> None:
    with pytest.raises(ModelUnavailable) as caught:
        weights.require(U2NET)
    assert caught.value.advice.endswith("python -m app models pull u2net")


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({}, ".rembg/models/u2net/u2net.onnx"),
        ({"REMBG_HOME": "~/mine"}, "mine/models/u2net/u2net.onnx"),
        ({"XDG_DATA_HOME": "~/data"}, "data/rembg/models/u2net/u2net.onnx"),
        ({}, ".u2net/u2net.onnx"),
        ({"XDG_DATA_HOME": "~/data"}, "data/.u2net/u2net.onnx"),
        ({"U2NET_HOME": "~/old"}, "old/models/u2net/u2net.onnx"),
        ({"U2NET_HOME": "~/old", "REMBG_HOME": "~/mine"}, "old/u2net.onnx"),
    ],
)
def test_finds_what_rembg_finds(
    variables: dict[str, str], place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    path = tmp_path / place
    path.parent.mkdir(parents=True)
    path.write_bytes(b"weights")
    assert weights.find(U2NET) == path == Path(session_class(U2NET).resolve_existing("u2net.onnx"))


def test_a_given_home_stands_in_for_the_variable(tmp_path: Path) -> None:
    path = write_model(U2NET, tmp_path / "given")
    assert weights.find(U2NET, str(tmp_path / "given")) == path


def test_fetching_what_is_here_downloads_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REMBG_HOME", str(tmp_path))
    monkeypatch.setattr(session_class(U2NET), "download_models", lambda: pytest.fail("it must not download"))
    path = write_model(U2NET, tmp_path)
    assert weights.fetch(U2NET) == path


def test_fetching_uses_rembgs_own_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REMBG_HOME", str(tmp_path))
    monkeypatch.setattr(session_class(U2NET), "download_models", lambda: write_model(U2NET, tmp_path))
    assert weights.fetch(U2NET) == tmp_path / "models/u2net/u2net.onnx"
