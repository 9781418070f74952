"""Photos of the benchmarks, made from scikit-image's: one of a given size for the load, a seeded mix for the soak."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image, ImageChops, ImageOps

__all__ = ["Photo", "make_mix", "original_photos", "photo_of", "png_bomb", "sample_photo"]

Size = tuple[int, int]
Finish = Callable[[Image.Image, Random], Image.Image]

PHOTO_SIZE = (1000, 667)
ORDINARY_PIXELS = 12_000_000
# Rows to process at a time, so that a large photo is in memory once.
STRIP = 256
BOMB_SIDE = 30_000
# Bytes of zeros that deflate to 40 kB.
BOMB_BYTES = 41_000_000


@dataclass(frozen=True, slots=True)
class Photo:
    """A file of the mix; `weight` is its share of the posts, `refusal` the expected status of a bad one."""

    kind: str
    path: Path
    mimetype: str
    size: Size
    weight: float
    refusal: int | None = None

    @property
    def must_succeed(self) -> bool:
        """Return whether it is an ordinary photo, which must succeed."""
        return self.mimetype == "image/jpeg" and self.pixels <= ORDINARY_PIXELS and self.refusal is None

    @property
    def pixels(self) -> int:
        """Return width times height."""
        return self.size[0] * self.size[1]


@dataclass(frozen=True, slots=True)
class _Recipe:
    """Recipe of one kind of photos, a file for each of its sizes; weights are percent of all posts."""

    kind: str
    weight: float
    format: str
    sizes: Sequence[Size]
    finish: Finish
    options: Mapping[str, object] = field(default_factory=dict)
    animated: bool = False


def sample_photo() -> bytes:
    """Make the default photo: scikit-image's astronaut, cropped to 3:2 and scaled, as a JPEG."""
    photo = ImageOps.fit(original_photos()[0], PHOTO_SIZE, Image.Resampling.LANCZOS, centering=(0.5, 0.0))
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def photo_of(megapixels: float) -> bytes:
    """Make a 3:2 photo of about this size, with camera noise, as a JPEG; the same for the same size.

    With this much noise a PNG of it takes as many bits per pixel, 9 to 11, as that of a real photo.
    """
    width = round((megapixels * 1.5e6) ** 0.5)
    photo = _enlarged(original_photos()[0], (width, round(width / 1.5)))
    buffer = io.BytesIO()
    _with_grain(12, photo, Random(0)).save(buffer, "JPEG", quality=90)  # noqa: S311  # reproducible, not secret
    return buffer.getvalue()


def make_mix(folder: Path, seed: int) -> list[Photo]:
    """Write the mix of the soak test into a folder; the same seed gives the same files."""
    originals, random, photos = original_photos(), Random(seed), list[Photo]()  # noqa: S311  # reproducible, not secret
    for recipe in _recipes():
        for number, size in enumerate(recipe.sizes):
            path = folder / f"{recipe.kind.replace(' ', '-')}-{number}"
            image = recipe.finish(_enlarged(originals[len(photos) % len(originals)], size), random)
            image.save(path, recipe.format, **recipe.options, **_more_frames(recipe, image))
            photos.append(Photo(recipe.kind, path, _mimetype(recipe), size, recipe.weight / len(recipe.sizes)))
    return [*photos, *_bad_ones(folder, photos)]


def original_photos() -> list[Image.Image]:
    """Return scikit-image's photos in the public domain, RGB: an astronaut, a cat, a cup of coffee."""
    from skimage import data  # here, so that custom photos need no scikit-image

    return [Image.fromarray(array).convert("RGB") for array in (data.astronaut(), data.cat(), data.coffee())]


def _more_frames(recipe: _Recipe, image: Image.Image) -> dict[str, Any]:
    if not recipe.animated:
        return {}
    return {"save_all": True, "append_images": [ImageOps.mirror(image), ImageOps.flip(image)]}


def _mimetype(recipe: _Recipe) -> str:
    return f"image/{recipe.format.lower()}"


def _enlarged(original: Image.Image, size: Size) -> Image.Image:
    return ImageOps.fit(original, size, Image.Resampling.BICUBIC)


def _recipes() -> Iterator[_Recipe]:
    """Yield every valid kind; the ordinary ones are 70 %."""
    yield from _ordinary()
    yield from _large()
    yield from _unusual()


def _ordinary() -> Iterator[_Recipe]:
    plain, full = {"quality": 90}, {"quality": 92, "subsampling": "4:4:4"}
    avatars = [(100, 100), (128, 128), (180, 240), (256, 256)]
    yield _Recipe("avatar JPEG", 12, "JPEG", avatars, _grainy(8), plain)
    yield _Recipe("avatar PNG", 8, "PNG", avatars, _grainy(8))
    yield _Recipe("0.7 MP JPEG", 24, "JPEG", [(1000, 667), (667, 1000), (1024, 683)], _grainy(16), plain)
    yield _Recipe("2 MP PNG", 10, "PNG", [(1600, 1200), (1920, 1080)], _grainy(8), {"compress_level": 4})
    yield _Recipe("12 MP JPEG", 8, "JPEG", [(4000, 3000), (3000, 4000)], _grainy(32), plain)
    yield _Recipe("12 MP JPEG 4:4:4", 3, "JPEG", [(4000, 3000)], _grainy(32), full)
    yield _Recipe("12 MP JPEG progressive", 4, "JPEG", [(4000, 3000)], _grainy(32), plain | {"progressive": True})
    yield _Recipe("12 MP JPEG progr. 4:4:4", 2, "JPEG", [(3000, 4000)], _grainy(32), full | {"progressive": True})


def _large() -> Iterator[_Recipe]:
    jpeg = {"quality": 90}
    yield _Recipe("25 MP JPEG", 6, "JPEG", [(5770, 4330), (4330, 5770)], _grainy(48), jpeg)
    yield _Recipe("25 MP JPEG progressive", 2, "JPEG", [(5770, 4330)], _grainy(32), jpeg | {"progressive": True})
    yield _Recipe("25 MP PNG", 3, "PNG", [(5770, 4330)], _flat, {"compress_level": 3})
    yield _Recipe("25 MP PNG RGBA", 2, "PNG", [(4330, 5770)], _flat_and_clear, {"compress_level": 3})


def _unusual() -> Iterator[_Recipe]:
    yield _Recipe("8 MP WEBP", 5, "WEBP", [(3264, 2448), (2448, 3264)], _grainy(16), {"quality": 85, "method": 0})
    yield _Recipe("7 MP TIFF", 2, "TIFF", [(3080, 2310)], _flat, {"compression": "tiff_lzw"})
    yield _Recipe("7 MP GIF", 1, "GIF", [(3080, 2310)], _few_colours)
    yield _Recipe("6 MP GIF animated", 1, "GIF", [(2830, 2120)], _few_colours, animated=True)
    yield _Recipe("7 MP BMP", 1, "BMP", [(3080, 2310)], _few_colours)
    yield _Recipe("8 MP JPEG CMYK", 3, "JPEG", [(3264, 2448)], _in_inks, {"quality": 85})
    yield _Recipe("6 MP PNG 16 bit", 1, "PNG", [(2830, 2120)], _sixteen_bits, {"compress_level": 3})


def _grainy(amplitude: int) -> Finish:
    """Return a finish that adds camera noise, without which an enlarged photo would compress too well."""
    return partial(_with_grain, amplitude)


def _with_grain(amplitude: int, image: Image.Image, random: Random) -> Image.Image:
    width, height = image.size
    noise = np.random.default_rng(random.getrandbits(32)).integers(0, amplitude, (STRIP, width, 3), np.uint8)
    grain = Image.fromarray(noise)
    for top in range(0, height, STRIP):
        box = (0, top, width, min(height, top + STRIP))
        strip = image.crop(box)
        image.paste(ImageChops.add(strip, grain.crop((0, 0, *strip.size)), 1, -amplitude // 2), box)
    return image


def _flat(image: Image.Image, _random: Random) -> Image.Image:
    return ImageOps.posterize(image, 6)  # with all bits 25 MP exceed MAX_IMAGE_BYTES


def _flat_and_clear(image: Image.Image, random: Random) -> Image.Image:
    flat = _flat(image, random)
    flat.putalpha(Image.radial_gradient("L").resize(image.size).point(lambda level: 255 if level < 160 else 0))
    return flat


def _few_colours(image: Image.Image, _random: Random) -> Image.Image:
    return image.quantize(64, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)


def _in_inks(image: Image.Image, random: Random) -> Image.Image:
    return _with_grain(16, image, random).convert("CMYK")


def _sixteen_bits(image: Image.Image, _random: Random) -> Image.Image:
    return Image.fromarray(np.asarray(image.convert("L"), np.uint16) * 257)


def _bad_ones(folder: Path, photos: Sequence[Photo]) -> Iterator[Photo]:
    """Yield a truncated JPEG, and a small PNG that claims to be huge."""
    whole = next(photo for photo in photos if photo.kind == "12 MP JPEG")
    truncated, bomb = folder / "truncated", folder / "bomb"
    truncated.write_bytes(whole.path.read_bytes()[: whole.path.stat().st_size // 2])
    yield Photo("truncated JPEG", truncated, "image/jpeg", whole.size, 1, refusal=422)
    bomb.write_bytes(png_bomb())
    yield Photo("PNG bomb", bomb, "image/png", (BOMB_SIDE, BOMB_SIDE), 1, refusal=413)


def png_bomb() -> bytes:
    """Make a small PNG that claims to be huge."""
    header = struct.pack("!IIBBBBB", BOMB_SIDE, BOMB_SIDE, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(BOMB_BYTES), 9)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack("!I", len(data)) + name + data + struct.pack("!I", zlib.crc32(name + data))
