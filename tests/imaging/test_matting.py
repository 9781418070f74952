"""Alpha matting: correct equations, correct solution, memory within the limit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion

from app.imaging import matting
from app.imaging.matte import refine_edges
from app.imaging.matting import UNKNOWN, can_be_solved, draw_trimap, fitting_scale, scale_trimap, solve_alpha
from app.removal import Trimap
from tests.support.synthetic_images import coarse, furry, model_mask, noise

Bytes = NDArray[np.uint8]
ROOT = Path(__file__).parent.parent.parent


def reference_laplacian(photo: Bytes) -> NDArray[np.float64]:
    """Return the whole matting Laplacian, as in Levin et al., eq. 12."""
    height, width = photo.shape[:2]
    colours = photo / 255
    laplacian = np.zeros((height * width, height * width))
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            pixels = [(y + down) * width + x + right for down in (-1, 0, 1) for right in (-1, 0, 1)]
            own = colours[y - 1 : y + 2, x - 1 : x + 2].reshape(9, 3)
            away = own - own.mean(axis=0)
            covariance = away.T @ away / 9 + 1e-7 / 9 * np.eye(3)
            laplacian[np.ix_(pixels, pixels)] += np.eye(9) - (1 + away @ np.linalg.inv(covariance) @ away.T) / 9
    return laplacian


def ringed(side: int) -> Bytes:
    """Return a trimap: subject in the middle, background around, unknown between."""
    known = np.full((side, side), UNKNOWN, np.uint8)
    known[:2], known[-2:], known[:, :2], known[:, -2:] = 0, 0, 0, 0
    known[side // 2 - 2 : side // 2 + 2, side // 2 - 2 : side // 2 + 2] = 255
    return known


def test_the_stencil_is_the_laplacian_of_the_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matting, "STRIP", 4)
    monkeypatch.setattr(matting, "CHUNK", 7)
    photo = np.asarray(noise((11, 13)))
    grid = matting._laplacian(photo, np.ones((13, 11), np.bool_))
    vector = np.random.default_rng(2).random(13 * 11).astype(np.float32)
    assert np.allclose(grid.times(vector), reference_laplacian(photo) @ vector, atol=1e-4)


def test_alpha_solves_the_equations() -> None:
    photo, known = np.asarray(noise((24, 24), seed=3)), ringed(24)
    unknown = (known == UNKNOWN).ravel()
    laplacian = reference_laplacian(photo)
    right = -laplacian[np.ix_(unknown, ~unknown)] @ (known.ravel()[~unknown] / 255)
    exact = np.clip(np.linalg.solve(laplacian[np.ix_(unknown, unknown)], right), 0, 1)
    alpha = solve_alpha(photo, known, np.full_like(known, 90))
    assert np.abs(alpha.ravel()[unknown] / 255 - exact).mean() < 0.01
    assert (alpha.ravel()[~unknown] == known.ravel()[~unknown]).all()


def test_matting_finds_hair_better_than_edges() -> None:
    photo, truth = furry(480)
    mask = model_mask(truth)
    known = draw_trimap(mask, Trimap())
    band = known == UNKNOWN
    matted = np.abs(solve_alpha(photo, known, mask) / 255 - truth)[band].mean()
    edges = np.abs(refine_edges(photo, coarse(truth))[1] / 255 - truth)[band].mean()
    assert matted < 0.6 * edges


@pytest.mark.parametrize("trimap", [Trimap(), Trimap(200, 50, 0), Trimap(255, 0, 3), Trimap(240, 10, 25)])
def test_the_trimap_equals_rembgs(trimap: Trimap) -> None:
    mask = model_mask(furry(200)[1])
    window = np.ones((trimap.erode, trimap.erode)) if trimap.erode else None
    subject, background = mask > trimap.foreground, mask < trimap.background
    if window is not None:
        subject, background = binary_erosion(subject, window), binary_erosion(background, window, border_value=1)
    expected = np.where(background, 0, np.where(subject, 255, UNKNOWN))
    assert (draw_trimap(mask, trimap) == expected).all()


@pytest.mark.parametrize(
    ("values", "possible"),
    [((0, 128, 255), True), ((0, 128), False), ((128, 255), False), ((0, 255), False), ((128,), False)],
)
def test_a_trimap_needs_subject_background_and_unknown_pixels(values: tuple[int, ...], possible: bool) -> None:
    assert can_be_solved(np.resize(np.array(values, np.uint8), (30, 30))) is possible


@pytest.mark.parametrize("shape", [(1, 9), (2, 200), (200, 2)])
def test_a_photo_smaller_than_a_window_cannot_be_solved(shape: tuple[int, int]) -> None:
    assert not can_be_solved(np.resize(np.array((0, 128, 255), np.uint8), shape))


def test_a_smaller_trimap_is_known_only_if_all_its_pixels_are() -> None:
    known = np.array([[0, 0, 255, 255], [0, 0, 255, 128]], np.uint8)
    assert scale_trimap(known, (2, 1)).tolist() == [[0, 128]]


@pytest.mark.parametrize("megabytes", [0, 30, 60, 120, 400])
def test_the_scale_is_the_maximum_that_fits(megabytes: int) -> None:
    known = np.resize(np.repeat(np.array((0, 128, 255, 0), np.uint8), 300), (1200, 1500))
    scale = fitting_scale(known, megabytes << 20)
    needed = matting.solver_bytes(round(known.size * scale**2), round((known == UNKNOWN).sum() * scale**2))
    assert needed <= max(megabytes << 20, matting.solver_bytes(256 * 256, 256 * 256))
    assert megabytes < 400 or scale == 1


def test_the_scale_is_limited_by_time_too() -> None:
    known = np.resize(np.repeat(np.array((0, 128, 128, 255), np.uint8), 500), (2000, 2000))
    assert (known == UNKNOWN).sum() * fitting_scale(known, 10**12) ** 2 <= 1.01 * matting.MAX_UNKNOWN


@pytest.mark.parametrize("megabytes", [60, 120, 180])
def test_a_smaller_solution_can_be_enlarged_in_the_same_memory(megabytes: int) -> None:
    known = np.zeros((2000, 3000), np.uint8)
    known[:, 1500:] = 255
    known[:, 1500:1510] = UNKNOWN
    scale = fitting_scale(known, megabytes << 20)
    needed = matting.FIXED + known.size * (matting.ENLARGED * scale**2 + matting.WHOLE)
    assert scale == 1 or needed == pytest.approx(megabytes << 20)


ENLARGE = """
import numpy as np
from app.engine.allocator import keep_heap_small
from app.engine.memory import resident_bytes
from app.imaging import matting
from app.imaging.foreground import enlarge_alpha
from tests.support.peak_memory import peak_bytes, reset_peak
from tests.support.synthetic_images import noise
keep_heap_small(4 << 20)
photo, small = np.asarray(noise((3000, 2000))), np.zeros((1600, 2400), np.uint8)
small[:, 1000:1010] = 128
small[:, 1010:] = 255
enlarge_alpha(photo[:64, :64], small[:32, :32])
idle = resident_bytes()
reset_peak()
enlarge_alpha(photo, small)
held = 5 * small.size  # smaller photo, mask and alpha
print(peak_bytes() - idle + held, matting.FIXED + matting.ENLARGED * small.size + matting.WHOLE * photo.size // 3)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peaks are read from /proc")
def test_the_memory_of_enlarging_is_predicted_within_a_factor_of_two() -> None:
    done = subprocess.run([sys.executable, "-c", ENLARGE], capture_output=True, text=True, check=True, cwd=ROOT)
    measured, predicted = map(int, done.stdout.split())
    assert measured <= predicted <= 2 * measured


MEASURE = """
import sys
import numpy as np
from app.engine.allocator import keep_heap_small
from app.engine.memory import resident_bytes
from app.imaging import matting
from tests.support.peak_memory import peak_bytes, reset_peak
from tests.support.synthetic_images import noise
width, height, share = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
keep_heap_small(4 << 20)
matting.ITERATIONS = 2  # more iterations take time, not memory
photo, known = np.asarray(noise((width, height))), np.zeros((height, width), np.uint8)
known[:, width // 8 :] = 128
known[:, width // 8 + int(share * width) :] = 255
matting.solve_alpha(photo[:64, :64], known[:64, :64], known[:64, :64])
idle = resident_bytes()
reset_peak()
matting.solve_alpha(photo, known, known)
print(peak_bytes() - idle, matting.solver_bytes(known.size, int((known == 128).sum())))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peaks are read from /proc")
@pytest.mark.parametrize(("width", "height", "share"), [(500, 400, 0.6), (2048, 1366, 0.05), (2048, 1366, 0.3)])
def test_the_memory_of_the_solver_is_predicted_within_a_factor_of_two(width: int, height: int, share: float) -> None:
    command = [sys.executable, "-c", MEASURE, str(width), str(height), str(share)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    measured, predicted = map(int, done.stdout.split())
    assert measured <= predicted <= 2 * measured


CAPPED = """
import io, sys
from app.engine.memory import MemoryGuard
from app.engine.messages import *
from app.removal import *
from app.engine.pipeline import Pipeline
from app.engine.session import SessionCache
from PIL import Image
from tests.support.photos import encoded, photo
from tests.support.peak_memory import peak_bytes, reset_peak
large = encoded(photo("cat").resize((2000, 1330)), "JPEG")
sessions = SessionCache(1)
sessions.get("lite").predict(Image.new("RGB", (320, 320)))
memory = MemoryGuard(cap=int(sys.argv[1]) << 20, warn=1 << 40)
memory.arm()
reset_peak()
pipeline = Pipeline(EngineConfig("lite", 1, 10**8, 10**8), sessions, memory)
result = pipeline.run(RemovalRequest(large, RemovalOptions("lite", 2048, refine="matting")))
print(result.matting_scale, result.width, peak_bytes() >> 20)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peaks are read from /proc")
@pytest.mark.parametrize(("cap", "whole"), [(320, False), (900, True)])
def test_a_photo_is_solved_at_the_maximum_scale_within_the_engines_cap(cap: int, whole: bool) -> None:
    done = subprocess.run([sys.executable, "-c", CAPPED, str(cap)], capture_output=True, text=True, cwd=ROOT)
    assert done.stderr == ""
    scale, width, peak = map(float, done.stdout.split())
    assert width == 2000
    assert scale == 1 if whole else 0.1 < scale < 1
    assert peak <= cap
