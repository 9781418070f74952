"""Results compared with reference implementations: rembg's session, Pillow's resampling, Pillow's encoder.

Both sides use U2-NetP's own weights, which are embedded, and those of lite, which has the same preprocessing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from app.engine import weights
from app.engine.memory import MemoryGuard
from app.engine.models import REGISTRY
from app.engine.pipeline import Pipeline
from app.engine.rembg_entry import session_class
from app.engine.session import SessionCache
from app.imaging.encode import encode
from app.removal import RemovalOptions, RemovalRequest
from tests.support.configuration import ENGINE
from tests.support.drawn_photos import draw_photo
from tests.support.photos import encoded, jpeg, opened, photo
from tests.support.synthetic_images import noise, swapped_profile

MaskOf = Callable[[Image.Image], Image.Image]

# No photo is downsized.
FULL_SIDE = 4096
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
def rembgs_mask(model: str, tmp_path_factory: pytest.TempPathFactory) -> MaskOf:
    return mask_by_rembg(model, tmp_path_factory.mktemp("home"))


def mask_by_rembg(model: str, home: Path) -> MaskOf:
    """Return rembg's function from a photo to its mask."""
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


@cache
def pipeline_of(threads: int) -> Pipeline:
    return Pipeline(ENGINE, SessionCache(threads), NoGuard(10**12, 10**12))


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return pipeline_of(2)


def grey(image: Image.Image) -> NDArray[np.int64]:
    return np.asarray(image, np.int64)


@pytest.mark.parametrize(("name", "longest"), PHOTOS, ids=str)
def test_masks_equal_rembgs(
    name: str | Path, longest: int, model: str, pipeline: Pipeline, rembgs_mask: MaskOf
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


def upright(turn: int) -> Image.Exif:
    """Return metadata with this orientation."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = turn
    return exif


# Files whose pixels rembg reads as we do.
FILES = {
    "png": encoded(photo("astronaut")),
    "jpeg": jpeg("cat"),
    "jpeg 4:2:0, turned": encoded(photo("coffee"), "JPEG", quality=80, exif=upright(6)),
    "jpeg, progressive, mirrored": encoded(photo("cat"), "JPEG", progressive=True, exif=upright(5)),
    "jpeg of MAX_DIMENSION": encoded(scaled("coffee", 2048), "JPEG", quality=90),
    "wide png": encoded(photo("cat").crop((0, 0, 400, 267))),
    "high png": encoded(photo("cat").crop((0, 0, 180, 300))),
    "small jpeg": encoded(scaled("cat", 90), "JPEG"),
    "webp": encoded(photo("astronaut"), "WEBP", quality=80),
    "jpeg, other colours, turned": encoded(photo("coffee"), "JPEG", icc_profile=swapped_profile(), exif=upright(8)),
    "CMYK": encoded(photo("cat").convert("CMYK"), "JPEG"),
    "opaque RGBA": encoded(photo("cat").convert("RGBA")),
    "palette": encoded(photo("coffee").quantize(64)),
    "greys": encoded(photo("astronaut").convert("L")),
    "drawing": encoded(draw_photo(1)[0]),
    "drawing, enlarged": encoded(draw_photo(2)[0].resize((960, 800))),
    "noise": encoded(noise((300, 500))),
    "black": encoded(Image.new("RGB", (200, 100))),
    **{path.name: path.read_bytes() for path in MORE_PHOTOS},
}


@pytest.fixture(scope="module")
def u2netps_mask(tmp_path_factory: pytest.TempPathFactory) -> MaskOf:
    """Return rembg's function with the resampling of Pillow 12, which its server requires."""
    mask_of = mask_by_rembg("u2netp", tmp_path_factory.mktemp("home"))
    pillows = Image.Image.resize

    def horizontally_first(image: Image.Image, size: tuple[int, int], resample: Image.Resampling) -> Image.Image:
        return pillows(pillows(image, (size[0], image.height), resample), size, resample)

    def mask(image: Image.Image) -> Image.Image:
        with pytest.MonkeyPatch.context() as patches:
            patches.setattr(Image.Image, "resize", horizontally_first)
            return mask_of(image)

    return mask


@pytest.mark.parametrize(("name", "threads"), [*((name, 1) for name in FILES), ("jpeg", 2)])
def test_a_reference_mask_is_rembgs_byte_for_byte(name: str, threads: int, u2netps_mask: MaskOf) -> None:
    pipeline = pipeline_of(threads)
    options = RemovalOptions("u2netp", FULL_SIDE, keep_colours=True, reference_mask=True)
    theirs = u2netps_mask(ImageOps.exif_transpose(opened(FILES[name])))
    cut_out = opened(pipeline.run(RemovalRequest(FILES[name], options)).body)
    assert cut_out.size == theirs.size
    assert cut_out.getchannel("A").tobytes() == theirs.tobytes()


def test_a_reference_mask_without_the_photo_is_the_same(u2netps_mask: MaskOf) -> None:
    options = RemovalOptions("u2netp", FULL_SIDE, mask_only=True, reference_mask=True)
    mask = opened(pipeline_of(1).run(RemovalRequest(FILES["png"], options)).body)
    assert mask.tobytes() == u2netps_mask(opened(FILES["png"])).tobytes()


@pytest.mark.parametrize(("name", "longest"), PHOTOS[:3], ids=str)
def test_pixels_of_a_png_equal_those_of_pillows_encoder(name: str, longest: int, pipeline: Pipeline) -> None:
    def cut_out(quality: int) -> Image.Image:
        options = RemovalOptions("lite", 2048, quality=quality)
        return opened(pipeline.run(RemovalRequest(encoded(scaled(name, longest)), options)).body)

    ours, pillows = cut_out(85), cut_out(95)
    assert ours.tobytes() == pillows.tobytes()
    assert encode(pillows, "PNG", 95) != encode(pillows, "PNG", 85)  # the quality selects the encoder
