"""The requirements of training agree with those of the service and its tests."""

from __future__ import annotations

from tests.support.configuration import ROOT


def pins(name: str) -> dict[str, str]:
    lines = (line.partition("#")[0].strip() for line in (ROOT / name).read_text("utf-8").splitlines())
    return dict(line.split("==", 1) for line in lines if "==" in line and ";" not in line)


def test_versions_are_those_of_the_tests() -> None:
    training, tests = pins("training/requirements.txt"), pins("requirements-dev.txt")
    assert training.pop("torch")
    assert training == {name: tests[name] for name in training}
    assert "-r ../requirements.txt" in (ROOT / "training/requirements.txt").read_text("utf-8")
