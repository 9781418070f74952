"""Quality of cut-outs of real photos, compared with masks drawn by hand for these tests (tests/data)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from app.engine.pipeline import Pipeline
from app.engine.session import SessionCache
from app.removal import RemovalOptions, RemovalRequest
from tests.support.configuration import ENGINE
from tests.support.photos import encoded, opened, photo

MASKS = Path(__file__).parent / "data"
MIN_IOU = {"astronaut": 0.9, "cat": 0.9, "coffee": 0.95}


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline(ENGINE, SessionCache(threads=2))


def drawn_mask(name: str) -> NDArray[np.bool_]:
    return np.asarray(Image.open(MASKS / f"{name}.png").convert("L")) >= 128


def intersection_over_union(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Return intersection over union."""
    return float((one & other).sum() / (one | other).sum())


@pytest.mark.parametrize("refine", ["edges", "none", "matting"])
@pytest.mark.parametrize("name", ["astronaut", "cat", "coffee"])
def test_cut_outs_agree_with_drawn_masks(
    name: str, refine: str, pipeline: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    options = RemovalOptions("lite", 2048, refine=refine)  # type: ignore[arg-type]
    result = pipeline.run(RemovalRequest(encoded(photo(name)), options))
    iou = intersection_over_union(np.asarray(opened(result.body).getchannel("A")) >= 128, drawn_mask(name))
    with capsys.disabled():
        print(f"\n  IoU of {name}, refine={refine}: {iou:.3f}")  # noqa: T201  # shown in the output of `make test`
    assert iou >= MIN_IOU[name]
