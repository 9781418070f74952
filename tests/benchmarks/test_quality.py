"""Evaluation of the benchmark of quality: scores of cut-outs, and tables. No model runs here."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.quality import Scores, scores_of, systems, tables
from benchmarks.quality_data import SETS, Case
from tests.support.synthetic_images import composed, disc

TRUTH = disc((50, 40), softness=4)
RED = np.full((*TRUTH.shape, 3), (200, 30, 30), np.float32)
PHOTO = composed(TRUTH, (200, 30, 30), (20, 30, 190))
PERFECT = Scores(1, 0, 0, 0, 0)


def cut_out(alpha: NDArray[np.float32], colours: NDArray[np.float32] = RED) -> NDArray[np.uint8]:
    levels = np.rint(np.dstack([colours, alpha * 255]))
    return np.asarray(levels, np.uint8)


def score(alpha: Sequence[NDArray[np.float32]], *cases: Case) -> Scores:
    return scores_of(iter([cut_out(plane) for plane in alpha]), cases)


def rounded(scores: Scores) -> Scores:
    colours = scores.colours if scores.colours is None else round(scores.colours, 2)
    return Scores(
        round(scores.iou, 2), round(scores.mean_error, 2), round(scores.sad, 2), round(scores.gradient, 2), colours
    )


def test_a_perfect_cut_out_has_no_errors() -> None:
    assert rounded(score([TRUTH], Case(PHOTO, TRUTH, RED))) == PERFECT


def test_scores_are_means_over_the_photos() -> None:
    nothing, case = np.zeros_like(TRUTH), Case(PHOTO, TRUTH, RED)
    missed, both = score([nothing], case), score([nothing, TRUTH], case, case)
    assert missed.iou == 0
    assert missed.sad == pytest.approx(TRUTH.sum() / 1000)
    assert both.iou == pytest.approx(0.5, abs=0.01)
    assert both.sad == pytest.approx(missed.sad / 2, rel=0.05)


def test_colours_of_the_background_are_an_error() -> None:
    with_background = scores_of(iter([cut_out(TRUTH, PHOTO.astype(np.float32))]), [Case(PHOTO, TRUTH, RED)])
    assert with_background.colours is not None and with_background.colours > 20


def test_unknown_colours_have_no_score() -> None:
    assert score([TRUTH], Case(PHOTO, TRUTH)).colours is None
    # Photos with known colours count alone.
    assert score([TRUTH, TRUTH], Case(PHOTO, TRUTH), Case(PHOTO, TRUTH, RED)).colours == pytest.approx(0, abs=1)


def test_a_missing_cut_out_is_an_error() -> None:
    with pytest.raises(ValueError, match="zip"):
        score([TRUTH], Case(PHOTO, TRUTH), Case(PHOTO, TRUTH))


def test_each_model_is_measured_with_each_refinement_and_rembg_with_and_without_matting() -> None:
    names = [system.name for system in systems(["lite", "auto"])]
    assert names[:3] == ["lite, none", "lite, edges", "lite, matting"]
    assert names[-2:] == ["rembg", "rembg, matting"]
    assert len(names) == len(set(names)) == 8


def test_tables_have_a_row_for_each_system_and_no_figure_for_unknown_colours() -> None:
    scores = {each.name: {"ours": Scores(0.5, 0.25, 3, 2, None), "rembg": PERFECT} for each in SETS}
    lines = tables(scores, {"ours": {"seconds": 0.125, "peak": 2e8}, "rembg": {"seconds": 1, "peak": 1e9}})
    rows = [line for line in lines if line.startswith("| ours")]
    masks = [each for each in SETS if not each.has_alpha]
    assert rows[0] == f"| ours |{' 0.500 / 0.250 |' * len(masks)}"
    assert rows[1:-1] == ["| ours | 0.500 | 3.00 | 2.00 | – |"] * (len(SETS) - len(masks))
    assert rows[-1] == "| ours | 0.12 | 200 |"
    assert [line for line in lines if line.startswith("## Alpha")] == [
        f"## Alpha: {each.name}" for each in SETS if each.has_alpha
    ]
