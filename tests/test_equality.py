"""Results compared with reference implementations: rembg's session, Pillow's resampling, Pillow's encoder.

Both sides use U2-NetP's own weights, which are embedded, and those of lite, which has the same preprocessing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from PIL import Image

from app.engine import weights
from app.engine.memory import MemoryGuard
from app.engine.models import REGISTRY
from app.engine.pipeline import Pipeline
from app.engine.rembg_entry import session_class
from app.engine.session import SessionCache
from app.imaging.encode import encode
from app.removal import RemovalOptions, RemovalRequest
from tests.support.configuration import ENGINE
from tests.support.photos import encoded, opened, photo

# More photos: EQUALITY_PHOTOS=folder pytest tests/test_equality.py
MORE_PHOTOS = sorted(Path(os.environ.get("EQUALITY_PHOTOS", os.devnull)).glob("*.*g"))
# Name and longest side: original sizes, and large ones that are scaled down in all steps.
PHOTOS = [
    ("astronaut", 512),
    ("cat", 451),
    ("coffee", 600),
    ("astronaut", 1500),
    ("cat", 2048),
    *((path, 0) for path in MORE_PHOTOS),
]


def scaled(name: str | Path, longest: int) -> Image.Image:
    image = photo(name) if isinstance(name, str) else Image.open(name).convert("RGB")
    factor = (longest or min(2048, max(image.size))) / max(image.size)
    return image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module", params=["u2netp", "lite"])
def model(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def rembgs_mask(model: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Image.Image], Image.Image]:
    """Return rembg's function from a photo to its mask."""
    home = tmp_path_factory.mktemp("home")
    (home / "models/u2netp").mkdir(parents=True)
    shutil.copy(weights.require(REGISTRY[model]), home / "models/u2netp/u2netp.onnx")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("REMBG_HOME", str(home))
        if model != "u2netp":
            environment.setenv("MODEL_CHECKSUM_DISABLED", "1")
        session = session_class(REGISTRY["u2netp"])("u2netp", ort.SessionOptions())
    return lambda image: session.predict(image)[0]


class NoGuard(MemoryGuard):
    """Guard without a limit on the memory of the process that runs the tests."""

    def arm(self) -> None:
        """Do nothing."""


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline(ENGINE, SessionCache(threads=2), NoGuard(10**12, 10**12))


def grey(image: Image.Image) -> NDArray[np.int64]:
    return np.asarray(image, np.int64)


@pytest.mark.parametrize(("name", "longest"), PHOTOS, ids=str)
def test_masks_equal_rembgs(
    name: str | Path, longest: int, model: str, pipeline: Pipeline, rembgs_mask: Callable[[Image.Image], Image.Image]
) -> None:
    image = scaled(name, longest)
    options = RemovalOptions(model, 2048, refine="none", mask_only=True)
    ours = grey(opened(pipeline.run(RemovalRequest(encoded(image), options)).body))
    theirs = grey(rembgs_mask(image))
    difference = abs(ours - theirs)
    assert difference.mean() <= 1
    assert np.percentile(difference, 99) <= 16
    both, either = (ours > 127) & (theirs > 127), (ours > 127) | (theirs > 127)
    assert both.sum() >= 0.995 * either.sum()


@pytest.mark.parametrize(("name", "longest"), PHOTOS[:3], ids=str)
def test_pixels_of_a_png_equal_those_of_pillows_encoder(name: str, longest: int, pipeline: Pipeline) -> None:
    def cut_out(quality: int) -> Image.Image:
        options = RemovalOptions("lite", 2048, quality=quality)
        return opened(pipeline.run(RemovalRequest(encoded(scaled(name, longest)), options)).body)

    ours, pillows = cut_out(85), cut_out(95)
    assert ours.tobytes() == pillows.tobytes()
    assert encode(pillows, "PNG", 95) != encode(pillows, "PNG", 85)  # the quality selects the encoder
