"""Draw the picture of the README, a photo before and after: `python -m tools.readme_picture URL`.

URL is a running service, such as http://localhost:5001. The photo is `coffee` of scikit-image, by Rachel Michetti,
in the public domain (CC0). The result is shown on the usual pattern of squares for transparency.
"""

from __future__ import annotations

import io
import sys
import urllib.request
from pathlib import Path

import skimage.data
from PIL import Image

__all__ = ["side_by_side"]

TARGET = Path(__file__).parent.parent / "docs/images/before-after.jpg"
SQUARE, WHITE, GREY = 16, (255, 255, 255, 255), (221, 221, 221, 255)


def squares(size: tuple[int, int]) -> Image.Image:
    """Return the pattern of squares."""
    pattern = Image.new("RGBA", size, WHITE)
    for x in range(0, size[0], SQUARE):
        for y in range(x // SQUARE % 2 * SQUARE, size[1], 2 * SQUARE):
            pattern.paste(GREY, (x, y, x + SQUARE, y + SQUARE))
    return pattern


def side_by_side(before: Image.Image, after: Image.Image) -> Image.Image:
    """Return the photo, and to its right the RGBA result on squares."""
    picture = Image.new("RGB", (2 * before.width, before.height))
    picture.paste(before, (0, 0))
    picture.paste(Image.alpha_composite(squares(after.size), after).convert("RGB"), (before.width, 0))
    return picture


def remove_background(photo: Image.Image, service: str) -> Image.Image:
    """Return the service's result for a photo."""
    body = io.BytesIO()
    photo.save(body, "PNG")
    request = urllib.request.Request(f"{service}/remove-background", body.getvalue(), {"Content-Type": "image/png"})  # noqa: S310
    with urllib.request.urlopen(request) as answer:  # noqa: S310  # the operator's own service
        return Image.open(io.BytesIO(answer.read())).convert("RGBA")


if __name__ == "__main__":
    coffee = Image.fromarray(skimage.data.coffee())
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    side_by_side(coffee, remove_background(coffee, sys.argv[1])).save(TARGET, quality=88, optimize=True)
