"""Execution providers: names, those of the installed package, and errors of a session without its provider."""

from __future__ import annotations

import pytest

from app.engine import providers
from app.engine.models import REGISTRY
from app.engine.providers import CPU, extra_mb, installed_providers, not_installed, parse_providers
from app.engine.session import load_session
from app.errors import ModelUnavailable

ABSENT = "MIGraphXExecutionProvider"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("cpu", (CPU,)),
        ("CUDA, cpu", ("CUDAExecutionProvider", CPU)),
        ("openvino,openvino", ("OpenVINOExecutionProvider",)),
        ("directml,coreml", ("DmlExecutionProvider", "CoreMLExecutionProvider")),
        (ABSENT, (ABSENT,)),
        (" , ", (CPU,)),
    ],
)
def test_names(text: str, names: tuple[str, ...]) -> None:
    assert parse_providers(text) == names


@pytest.mark.parametrize("text", ["gpu", "ExecutionProvider", "cpu;cuda", "CUDA ExecutionProvider"])
def test_other_names_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not an execution provider; use one of cpu, cuda, openvino"):
        parse_providers(text)


def test_the_installed_package_has_the_cpu() -> None:
    assert CPU in installed_providers()


def test_a_package_that_cannot_be_imported_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(providers, "LIST", "import onnxruntime_that_does_not_exist")
    with pytest.raises(OSError, match="could not be imported: ModuleNotFoundError"):
        installed_providers()


def test_a_package_that_hangs_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(providers, "LIST", "import time; time.sleep(600)")
    monkeypatch.setattr(providers, "START_SECONDS", 0.2)
    with pytest.raises(OSError, match="could not be imported within"):
        installed_providers()


def test_the_error_names_missing_and_installed_providers() -> None:
    assert not_installed((CPU,), ("X", CPU)) == ""
    text = not_installed((ABSENT, CPU), ("X", CPU))
    assert text == f"{ABSENT}: not in the installed onnxruntime, which has X, {CPU}"


def test_drivers_get_memory() -> None:
    assert extra_mb((CPU,)) == 0
    assert extra_mb(("OpenVINOExecutionProvider", CPU)) == 200
    assert extra_mb(("CUDAExecutionProvider", CPU)) == 1500


def test_a_session_without_its_provider_is_an_error() -> None:
    with pytest.raises(ModelUnavailable, match=f"EXECUTION_PROVIDERS names {ABSENT}"):
        load_session(REGISTRY["lite"], 1, providers=(ABSENT, CPU))


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_provider_that_falls_back_to_the_cpu_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: [ABSENT, CPU])
    with pytest.raises(ModelUnavailable, match=f"{ABSENT} could not be started"):
        load_session(REGISTRY["lite"], 1, providers=(ABSENT, CPU))
