"""Photos, and images as files."""

from __future__ import annotations

import io
from functools import cache

import skimage.data
from PIL import Image

__all__ = ["encoded", "jpeg", "opened", "photo"]


def encoded(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    target = io.BytesIO()
    if format == "HEIF":
        import pillow_heif  # without Pillow: registering the plugin is the task of decode()

        pillow_heif.from_pillow(image).save(target, **options)
    else:
        image.save(target, format, **options)
    return target.getvalue()


@cache
def photo(name: str) -> Image.Image:
    """Return one of scikit-image's public-domain photos: astronaut, cat or coffee."""
    return Image.fromarray(getattr(skimage.data, name)())


@cache
def jpeg(name: str = "astronaut") -> bytes:
    return encoded(photo(name), "JPEG", quality=92)


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image
