"""Images with an alpha of their own: what is visible, and whether they are already cut out.

Colours under alpha 0 are never seen, by the model neither: programs leave anything there.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.imaging.geometry import fit_within
from app.imaging.subject import VISIBLE

__all__ = ["is_cut_out", "is_visible", "on_neutral_ground", "visible_cells", "without_hidden_colours"]

Bytes = NDArray[np.uint8]

# Minimum share of invisible pixels in a cut-out: rounded corners of a photo have less, those of an icon more.
MIN_CLEAR = 0.03
# Alpha is examined at this size, so that the width of an edge is relative to the image.
SIDE = 320
# Minimum step of alpha, relative to its maximum, in 3 x 3 px of an edge; a vignette has smaller ones.
STEEP = 0.25
# Minimum share of the changes of alpha that steep edges have: a glow or a shadow around them may have the rest.
MIN_STEEP = 0.33
# Share of a side's length that a photo between transparent bars covers.
FULL = 0.99
# Greys to put an image on, and the difference at which a colour contrasts with one.
GROUNDS, CONTRAST = (245, 128, 10), 48


def is_visible(alpha: Image.Image) -> bool:
    """Return whether any pixel of an alpha (L) is visible."""
    return int(alpha.getextrema()[1]) >= VISIBLE  # type: ignore[arg-type]


def is_cut_out(alpha: Image.Image) -> bool:
    """Return whether an alpha (L) is that of a subject without its background.

    More than a little is invisible, and the visible part has steep edges, or is in several parts. A vignette has and
    is neither; a photo between transparent bars has its background.
    """
    if _share_invisible(alpha) < MIN_CLEAR:
        return False
    small = np.asarray(alpha.resize(fit_within(alpha.size, SIDE, SIDE), Image.Resampling.BOX, reducing_gap=1.0))
    return not _is_between_bars(small) and (_steepness(small) >= MIN_STEEP or _is_in_parts(small))


def visible_cells(alpha: Image.Image, side: int) -> NDArray[np.float32]:
    """Return a square grid of `side` cells: 1 where any pixel is visible, else 0."""
    seen = alpha.point([0] * VISIBLE + [255] * (256 - VISIBLE))
    return np.asarray(np.asarray(seen.resize((side, side), Image.Resampling.BOX)) > 0, np.float32)


def on_neutral_ground(rgb: Image.Image, alpha: Image.Image) -> Image.Image:
    """Return the image (RGB) as it looks on the grey that contrasts best with its visible part."""
    ground = Image.new("RGB", rgb.size, (_ground(rgb, alpha),) * 3)
    ground.paste(rgb, (0, 0), alpha)
    return ground


def without_hidden_colours(rgb: Image.Image, alpha: Image.Image) -> Image.Image:
    """Return the image (RGB) with one grey in place of its pixels of alpha 0."""
    if int(alpha.getextrema()[0]) > 0:  # type: ignore[arg-type]
        return rgb
    shown = rgb.copy()
    shown.paste((_ground(rgb, alpha),) * 3, mask=alpha.point([255] + [0] * 255))
    return shown


def _share_invisible(alpha: Image.Image) -> float:
    counts = alpha.histogram()
    return sum(counts[:VISIBLE]) / sum(counts)


def _is_between_bars(alpha: Bytes) -> bool:
    """Return whether the visible part is a rectangle from one border of the image to the opposite one."""
    seen = alpha >= VISIBLE
    if not seen.any():  # a few pixels of a large image
        return False
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    part = alpha[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    whole = part.shape[0] >= FULL * alpha.shape[0] or part.shape[1] >= FULL * alpha.shape[1]
    return bool(whole and (part >= VISIBLE).mean() >= FULL)


def _steepness(alpha: Bytes) -> float:
    """Return the share of the changes of alpha that its steep edges have."""
    steps = np.asarray(cv2.morphologyEx(alpha, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)), np.int64)
    return float(steps[steps >= STEEP * int(alpha.max())].sum() / max(1, int(steps.sum())))


def _is_in_parts(alpha: Bytes) -> bool:
    parts, _ = cv2.connectedComponents(np.asarray(alpha >= alpha.max() / 2, np.uint8))
    return int(parts) > 2  # the first one is the background


def _ground(rgb: Image.Image, alpha: Image.Image) -> int:
    """Return the grey that the smallest part of the visible pixels resembles."""
    seen = alpha.point([0] * VISIBLE + [255] * (256 - VISIBLE))
    counts = rgb.convert("L").histogram(seen)
    return min(GROUNDS, key=lambda grey: sum(counts[max(0, grey - CONTRAST) : grey + CONTRAST + 1]))
