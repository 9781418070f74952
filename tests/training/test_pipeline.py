"""The whole of `python -m training`, and the comparison that it ends with."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.engine.models import REGISTRY
from app.engine.weights import sha256
from tests.support.configuration import ROOT
from tests.support.drawn_photos import write_set
from tests.support.onnx_models import write_model
from tests.support.torch_tests import HAS_TORCH, needs_torch

if HAS_TORCH:
    from training.comparison import NEW, TODAY, Comparison
    from training.evaluation import Score

pytestmark = needs_torch


def score(iou: float) -> Score:
    return Score(iou, 0.1, 0, (iou,))


def compared(new: tuple[float, float], milliseconds: float = 25.0) -> Comparison:
    scores = {TODAY: {"a": score(0.8), "b": score(0.9)}, NEW: dict(zip("ab", map(score, new), strict=True))}
    return Comparison(scores, {TODAY: 25.0, NEW: milliseconds})


@pytest.mark.parametrize(
    ("new", "milliseconds", "objections"),
    [
        ((0.81, 0.91), 26.0, []),
        ((0.81, 0.9), 25.0, ["IoU on b is 0.9000, today's 0.9000"]),
        ((0.7, 0.91), 27.0, ["IoU on a is 0.7000, today's 0.8000", "takes 27.0 ms, today's 25.0 ms"]),
    ],
)
def test_a_new_model_must_be_better_on_every_set_and_no_slower(
    new: tuple[float, float], milliseconds: float, objections: list[str]
) -> None:
    assert compared(new, milliseconds).objections() == objections


def test_without_validation_nothing_speaks_for_a_new_model() -> None:
    nothing = dataclasses.replace(compared((1, 1)), scores={TODAY: {}, NEW: {}})
    assert nothing.objections() == ["no validation set"]


def train(data: Path, run: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    teacher = run.parent / "models/u2netp/u2netp.onnx"
    command = [sys.executable, "-m", "training", "--data", str(data), "--run", str(run), "--teacher", str(teacher)]
    settings = ["--no-idle", "--steps", "2", "--batch", "2", "--sizes", "64", *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run([*command, *settings], cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.fixture
def sets(data: Path) -> Path:
    write_set(data / "drawn", 21)
    write_set(data / "unlabelled", 3, masks=False)
    write_set(data / "bg-elementary", 2, masks=False)
    (data / "unlabelled" / "002.jpg").write_bytes(b"text")
    write_model(REGISTRY["u2netp"], data.parent, brightness=1.0, offset=0.4)
    return data


def test_a_run_labels_trains_exports_compares_and_writes_a_card(sets: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    first = train(sets, run)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "unlabelled/002 skipped: cannot be decoded" in first.stdout
    assert "The new model should not replace today's:" in first.stdout
    assert sorted(path.name for path in (run / "labels/unlabelled").iterdir()) == ["001.png", "003.png"]
    text = (run / "lite.md").read_text("utf-8")
    assert sha256(run / "lite.onnx") in text
    assert "| drawn | 19 | 2 | human | not stated | none stated |" in text
    assert "| bg-elementary | 2 | 0 | none: backgrounds | elementary/wallpapers | stated per image |" in text
    assert len((run / "worst.txt").read_text("utf-8").splitlines()) == 2
    again = train(sets, run)
    assert "Resumed at step 2" in again.stdout
    assert "photos labelled" not in again.stdout
    compared = train(sets, tmp_path / "other", "--start", str(run / "checkpoint.pt"), "--steps", "0")
    assert compared.returncode == 0, compared.stdout + compared.stderr
    assert (tmp_path / "other/lite.onnx").read_bytes() == (run / "lite.onnx").read_bytes()
    other = train(sets, run, "--rate", "0.1")
    assert (other.returncode, "made with other settings" in other.stderr) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sizes", "100"], "multiples of 32"),
        (["--sizes", "big"], "is not a list of numbers"),
        (["--teacher", "u3net"], "is not a model"),
        (["--teacher", "auto"], "is not a model"),
        (["--teacher", "u3net.onnx"], "Name the file of"),
        (["--teacher", "/missing/u2net.onnx"], "does not exist"),
        (["--start", "/missing.pt"], "does not exist"),
        (["--steps", "0"], "needs a checkpoint"),
    ],
)
def test_bad_options_are_refused(sets: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    result = train(sets, tmp_path / "run", *arguments)
    assert result.returncode == 2
    assert message in result.stderr
