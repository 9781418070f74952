"""Cases of the benchmark of quality: choice of the photos, and composites with known alpha and colours."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from benchmarks.quality_data import BACKGROUNDS, SETS, Case, PhotoSet, make_cases
from tests.support.photos import encoded
from tests.support.synthetic_images import composed, disc

SIZE = (40, 60)
RED, BLUE, GREEN = (200, 30, 30), (20, 30, 190), (30, 180, 40)
# Error of a JPEG of flat colours, in grey levels.
JPEG_ERROR = 6
LAST_5 = slice(-5, None)
DISCS = PhotoSet("discs on photos", "discs", LAST_5, composed=True, exact=True)


def jpeg_of(image: Image.Image) -> bytes:
    return encoded(image, "JPEG", quality=100, subsampling=0)


def write_tar(path: Path, files: Mapping[str, bytes]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def write_pairs(path: Path, alpha: NDArray[np.float32], count: int = 1) -> None:
    """Write photos of a red subject on blue, a little darker each, with their masks."""
    mask = encoded(Image.fromarray(np.rint(alpha * 255).astype(np.uint8)))
    files: dict[str, bytes] = {}
    for number in range(count):
        photo = Image.fromarray(composed(alpha, (RED[0] - 10 * number, *RED[1:]), BLUE))
        files |= {f"{number:05}.jpg": jpeg_of(photo), f"{number:05}.png": mask}
    write_tar(path, files)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with ten discs, and a green photo in each set of backgrounds."""
    write_pairs(tmp_path / "discs.tar", disc(SIZE, softness=3), 10)
    for name in BACKGROUNDS:
        write_tar(tmp_path / f"{name}.tar", {"00000.jpg": jpeg_of(Image.new("RGB", (90, 50), GREEN))})
    return tmp_path


def difference(values: Any, expected: Any) -> float:
    """Return the maximum difference, in grey levels."""
    return float(np.abs(values.astype(np.float32) - np.asarray(expected, np.float32)).max())


def brightest_red(case: Case) -> int:
    return int(case.photo[..., 0].max())


@pytest.mark.parametrize(
    ("held_out", "count", "numbers"),
    [
        (slice(None), 10, range(10)),
        (slice(-4, None), 2, (6, 8)),
        (LAST_5, 9, range(5, 10)),
        (slice(None, None, 4), 3, (0, 4, 8)),
    ],
)
def test_photos_are_spread_over_the_held_out_ones(
    held_out: slice, count: int, numbers: range | tuple[int, ...], folder: Path
) -> None:
    cases = make_cases(folder, PhotoSet("discs", "discs", held_out, exact=True), count)
    expected = [RED[0] - 10 * number for number in numbers]
    assert [brightest_red(case) for case in cases] == pytest.approx(expected, abs=JPEG_ERROR)


def test_a_photo_without_composition_has_its_own_mask_and_unknown_colours(folder: Path) -> None:
    case = make_cases(folder, PhotoSet("discs", "discs", LAST_5), 1)[0]
    assert case.truth == pytest.approx(disc(SIZE, softness=3), abs=1 / 255)
    assert case.colours is None


def test_a_composite_is_the_subject_over_the_background(folder: Path) -> None:
    case = make_cases(folder, DISCS, 1)[0]
    assert case.colours is not None
    assert case.truth == pytest.approx(disc(SIZE, softness=3), abs=1 / 255)
    assert difference(case.photo[case.truth == 0], GREEN) <= JPEG_ERROR
    share = case.truth[..., None]
    expected = share * case.colours + (1 - share) * np.array(GREEN)
    assert difference(case.photo, expected) <= JPEG_ERROR


def test_colours_along_the_edge_are_those_of_the_opaque_part(folder: Path) -> None:
    case = make_cases(folder, DISCS, 1)[0]
    assert case.colours is not None
    fractional = (case.truth > 0) & (case.truth < 1)
    assert fractional.any()
    assert difference(case.colours[fractional], (150, *RED[1:])) <= JPEG_ERROR


def test_only_masks_that_are_not_exact_are_softened(folder: Path) -> None:
    write_pairs(folder / "hard.tar", (disc(SIZE) >= 0.5).astype(np.float32))
    hard = PhotoSet("hard", "hard", LAST_5, composed=True, exact=True)
    exact, soft = (make_cases(folder, photo_set, 1)[0] for photo_set in (hard, replace(hard, exact=False)))
    assert set(np.unique(exact.truth)) == {0, 1}
    assert ((soft.truth > 0.1) & (soft.truth < 0.9)).any()
    assert soft.truth.mean() == pytest.approx(exact.truth.mean(), rel=0.01)


@pytest.mark.parametrize("peak", [1.0, 0.5])
def test_a_subject_without_an_opaque_interior_keeps_the_colours_of_its_peak(peak: float, folder: Path) -> None:
    thin = np.zeros((SIZE[1], SIZE[0]), np.float32)
    thin[20:40, 16:24] = peak
    thin[20:40, 19:21] = peak / 2
    write_pairs(folder / "thin.tar", thin)
    case = make_cases(folder, PhotoSet("thin", "thin", LAST_5, composed=True, exact=True), 1)[0]
    assert case.colours is not None
    expected = peak * np.array(RED) + (1 - peak) * np.array(BLUE)
    assert difference(case.colours, expected) <= 4 * JPEG_ERROR  # a sharp edge in a JPEG


def test_alpha_is_known_for_exact_masks_and_composites() -> None:
    assert [photo_set.name for photo_set in SETS if not photo_set.has_alpha] == ["pascal-s", "ccp-people", "msra1000"]


def test_the_case_of_a_photo_does_not_depend_on_their_number(folder: Path) -> None:
    backgrounds = {f"{n:05}.jpg": jpeg_of(Image.new("RGB", SIZE, (n, 200, n))) for n in range(0, 250, 10)}
    write_tar(folder / f"{BACKGROUNDS[0]}.tar", backgrounds)
    all_ten, five = (make_cases(folder, replace(DISCS, held_out=slice(None)), count) for count in (10, 5))
    assert [case.photo.tobytes() for case in five] == [case.photo.tobytes() for case in all_ten[::2]]
    assert len({tuple(case.photo[0, 0]) for case in all_ten}) > 5
