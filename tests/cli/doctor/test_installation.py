"""Checks of complete and incomplete installations."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

import pytest

from app.cli.doctor import installation
from app.cli.doctor.findings import Level
from app.settings import Settings

OK, WARN, FAIL = Level.OK, Level.WARN, Level.FAIL


def test_python() -> None:
    assert installation.check_python().found.startswith(".".join(map(str, sys.version_info[:3])))


@pytest.mark.parametrize(
    ("pins", "level", "found"),
    [
        (f"flask=={metadata.version('flask')}  # why\n# a comment\n", OK, "as pinned in r.txt (1)"),
        (f"opencv-python-headless=={metadata.version('opencv-python-headless')}\n", OK, "(1)"),
        ("flask==0.1\n", WARN, f"flask {metadata.version('flask')}, not 0.1"),
        ("flask==0.1\nno-such-package==1\n", FAIL, "missing: no-such-package"),
    ],
)
def test_packages(pins: str, level: Level, found: str, tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_text(pins)
    finding = installation.check_packages(tmp_path / "r.txt")
    assert finding.level is level and found in finding.found
    assert level is OK or finding.advice == "pip install -r r.txt"


def test_packages_without_requirements(tmp_path: Path) -> None:
    assert installation.check_packages(tmp_path / "r.txt").level is WARN


@pytest.mark.parametrize(("allowed", "level"), [((), WARN), (("u2net",), FAIL)])
def test_a_missing_rembg_fails_only_for_its_own_models(allowed: tuple[str, ...], level: Level, tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_text("no-such-rembg==2.0\n")
    finding = installation.check_rembg(Settings(models_allowed=allowed), tmp_path / "r.txt")
    assert (finding.level, finding.advice) == (level, "pip install --no-deps -r r.txt")


def test_decoders(monkeypatch: pytest.MonkeyPatch) -> None:
    assert installation.check_decoders().advice == ""
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    assert installation.check_decoders().advice.endswith("pip install pillow-heif")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems always lack some of them")
def test_protections(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert installation.check_protections().level is OK
    monkeypatch.setenv("ENGINE_FAULTS", "1")
    assert "ENGINE_FAULTS" in installation.check_protections().advice
    monkeypatch.delenv("ENGINE_FAULTS")
    monkeypatch.setattr(installation, "PROC", tmp_path)
    finding = installation.check_protections()
    assert finding.level is WARN and "RLIMIT_DATA" in finding.found and "oom_score_adj" in finding.found


def test_another_package_of_onnxruntime_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "r.txt").write_text("onnxruntime==1.31.1\nnumpy==2.4.6\n")
    versions = {"onnxruntime-gpu": "1.31.1", "numpy": "2.4.6"}
    monkeypatch.setattr(installation, "_installed_version", versions.get)
    assert installation.check_packages(tmp_path / "r.txt").level is OK
    del versions["onnxruntime-gpu"]
    assert "missing: onnxruntime" in installation.check_packages(tmp_path / "r.txt").found
