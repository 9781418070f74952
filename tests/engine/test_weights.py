"""Paths of weights, compared with rembg's, and their download on demand."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.engine import weights
from app.engine.models import REGISTRY, ModelSpec
from app.engine.rembg_entry import session_class
from app.engine.session import load_session
from app.errors import ModelUnavailable
from tests.support.onnx_models import write_model

U2NET = REGISTRY["u2net"]


@pytest.fixture(autouse=True)
def no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("U2NET_HOME", "REMBG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def test_the_embedded_model_is_always_found() -> None:
    path = weights.find(REGISTRY["lite"])
    assert path is not None and path.stat().st_size > 1_000_000


@pytest.mark.parametrize(
    "model", [model for model in REGISTRY.values() if model.embedded], ids=lambda model: model.name
)
def test_embedded_weights_have_the_recorded_sha256(model: ModelSpec) -> None:
    for part in model.parts:
        for path in weights.files(part):
            assert path.with_name(f"{path.name}.sha256").is_file()
            weights.check(part, path)
        assert weights.graph(part) in weights.files(part)


def test_damaged_weights_are_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REMBG_HOME", str(tmp_path))
    monkeypatch.setattr(session_class(U2NET), "download_models", lambda: write_model(U2NET, tmp_path))
    path = weights.fetch(U2NET)
    load_session(U2NET, threads=1)
    write_model(U2NET, tmp_path, brightness=0.2)  # loadable, but not what was downloaded
    with pytest.raises(ModelUnavailable, match="damaged") as caught:
        load_session(U2NET, threads=1)
    assert caught.value.advice == "An operator can delete u2net.onnx and run: python -m app models pull u2net"
    path.with_name("u2net.onnx.sha256").unlink()  # weights from elsewhere are not checked
    load_session(U2NET, threads=1)


def test_the_error_for_missing_weights_names_the_download_command() -> None:
    with pytest.raises(ModelUnavailable) as caught:
        weights.require(U2NET)
    assert caught.value.advice.endswith("python -m app models pull u2net")


@pytest.mark.parametrize(
    ("variables", "relative_path"),
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
def test_weights_are_found_where_rembg_finds_them(
    variables: dict[str, str], relative_path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    path = tmp_path / relative_path
    path.parent.mkdir(parents=True)
    path.write_bytes(b"weights")
    assert weights.find(U2NET) == path == Path(session_class(U2NET).resolve_existing("u2net.onnx"))


def test_the_argument_home_replaces_the_variable(tmp_path: Path) -> None:
    path = write_model(U2NET, tmp_path / "given")
    assert weights.find(U2NET, str(tmp_path / "given")) == path


def test_existing_weights_are_not_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REMBG_HOME", str(tmp_path))
    monkeypatch.setattr(session_class(U2NET), "download_models", lambda: pytest.fail("it must not download"))
    path = write_model(U2NET, tmp_path)
    assert weights.fetch(U2NET) == path


def test_fetch_uses_rembgs_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REMBG_HOME", str(tmp_path))
    monkeypatch.setattr(session_class(U2NET), "download_models", lambda: write_model(U2NET, tmp_path))
    assert weights.fetch(U2NET) == tmp_path / "models/u2net/u2net.onnx"
