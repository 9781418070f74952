"""Write docs/formats.md, the size and quality of each format and preset: `python -m benchmarks.formats [PHOTO …]`.

Without arguments it uses scikit-image's photos.
"""

from __future__ import annotations

import argparse
import io
import statistics
import sys
import textwrap
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.metrics import structural_similarity

from app.engine.container import cpu_quota
from app.engine.messages import EngineConfig
from app.engine.pipeline import Pipeline
from app.engine.session import SessionCache
from app.options.parameters import parse_native
from app.options.presets import BUILT_IN
from app.removal import RemovalRequest, RemovalResult
from app.settings import Settings
from benchmarks.console import milliseconds, print_table
from benchmarks.markdown import markdown_table
from benchmarks.photos import original_photos
from benchmarks.server import ROOT

TEXT = ROOT / "docs/formats.md"
MODEL = "lite"
QUALITIES = {
    "PNG": (95, 90, 85, 50),
    "WEBP": (95, 85, 70, 50),
    "AVIF": (95, 85, 70, 50),
    "JPEG": (95, 85, 70, 50),
    "ZIP": (95, 85, 70),
}
# Reference of all comparisons: lossless and at full size.
LOSSLESS = {"format": "PNG", "quality": "85"}
HEADER = ("", "kB", "saves", "PSNR dB", "SSIM", "encode ms")
LINE = 120
INTRODUCTION = (
    "Written by `python -m benchmarks.formats`, which also accepts your own photos. Size and time are means over "
    "{photos}; `saves` compares with default `format=PNG` at full size. PSNR and SSIM compare the result on white "
    "with the lossless one of the same pixel size, in the visible part of the subject. Differences are hardly visible "
    "above a PSNR of 40 dB, and visible below 30 dB. JPEG has no transparency."
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One photo in one format; `error` is the mean square error in grey levels."""

    bytes: int
    full_bytes: int
    error: float
    likeness: float
    encode_ms: float


def main() -> int:
    """Measure, print, write, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.formats", description=__doc__)
    parser.add_argument("photos", type=Path, nargs="*", metavar="PHOTO", help="images to use instead")
    parser.add_argument("--output", type=Path, default=TEXT, metavar="FILE", help="default: docs/formats.md")
    arguments = parser.parse_args()
    photos = [path.read_bytes() for path in arguments.photos] or [*map(_png, original_photos())]
    sizes = ", ".join(_size(photo) for photo in photos)
    names = f"{len(photos)} photos ({sizes} px)" if arguments.photos else f"scikit-image's three photos ({sizes} px)"
    pipeline = LocalPipeline()
    formats, presets = _rows(pipeline, photos, _formats()), _rows(pipeline, photos, _presets())
    print_table(HEADER, [*formats, *presets])
    arguments.output.write_text(_text(names, formats, presets), encoding="utf-8")
    return 0


class LocalPipeline:
    """The real pipeline with the embedded model, in this process, with the parameters of a client."""

    def __init__(self) -> None:
        settings = Settings()
        self._side = settings.max_dimension
        config = EngineConfig(MODEL, cpu_quota(), settings.max_pixels, settings.max_pixels_hard)
        self._pipeline = Pipeline(config, SessionCache(config.threads))

    def cut_out(self, photo: bytes, fields: Mapping[str, str]) -> RemovalResult:
        """Return the service's result for these fields."""
        parsed = parse_native(fields, models=(MODEL,), longest_side=self._side, accepted_format="PNG")
        return self._pipeline.run(RemovalRequest(photo, parsed.options))

    def sample(self, photo: bytes, fields: Mapping[str, str]) -> Sample:
        """Compare one result with the lossless one of the same size."""
        result = self.cut_out(photo, fields)
        like = {name: value for name, value in fields.items() if name != "background"}
        lossless = _opened(self.cut_out(photo, {**like, **LOSSLESS}).body)
        error, likeness = _compare(_on_white(_opened(result.body)), _on_white(lossless), _visible(lossless))
        full = len(self.cut_out(photo, LOSSLESS).body)
        return Sample(len(result.body), full, error, likeness, result.stages_ms["encode"])


def _formats() -> Iterator[tuple[str, dict[str, str]]]:
    for name, qualities in QUALITIES.items():
        for quality in qualities:
            yield f"{name} {quality}", {"format": name, "quality": str(quality)}


def _presets() -> Iterator[tuple[str, Mapping[str, str]]]:
    for name, fields in BUILT_IN.items():
        yield f"{name} ({_description(fields)})", fields


def _description(fields: Mapping[str, str]) -> str:
    """Describe a preset such as `WEBP 70, 800×600`."""
    size = f", {fields['max_width']}×{fields['max_height']}" if "max_width" in fields else ""
    canvas = f", canvas {fields['canvas'].replace('x', '×')}" if "canvas" in fields else ""
    return f"{fields['format']} {fields['quality']}{size}{canvas}"


def _rows(
    pipeline: LocalPipeline, photos: Sequence[bytes], parameters: Iterator[tuple[str, Mapping[str, str]]]
) -> list[Sequence[str]]:
    return [_row(name, [pipeline.sample(photo, fields) for photo in photos]) for name, fields in parameters]


def _row(name: str, samples: Sequence[Sample]) -> Sequence[str]:
    size, full = (sum(getattr(sample, of) for sample in samples) for of in ("bytes", "full_bytes"))
    error = statistics.fmean(sample.error for sample in samples)
    return (
        name,
        f"{size / len(samples) / 1000:.0f}",
        f"{1 - size / full:.0%}",
        f"{10 * np.log10(255**2 / error):.1f}" if error else "lossless",
        f"{statistics.fmean(sample.likeness for sample in samples):.3f}",
        milliseconds(statistics.fmean(sample.encode_ms for sample in samples)),
    )


def _compare(image: NDArray[np.uint8], original: NDArray[np.uint8], visible: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the mean square error and the mean SSIM (Wang et al. 2004) over the visible pixels."""
    error = np.square(image.astype(np.float32) - original)[visible].mean()
    likeness = structural_similarity(image, original, channel_axis=2, data_range=255, full=True)[1]
    return float(error), float(likeness[visible].mean())


def _opened(body: bytes) -> Image.Image:
    """Read a result, also a ZIP with separate colours and alpha."""
    if not zipfile.is_zipfile(io.BytesIO(body)):
        return Image.open(io.BytesIO(body))
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        colours, alpha = (Image.open(io.BytesIO(archive.read(name))) for name in ("color.jpg", "alpha.png"))
    colours.putalpha(alpha)
    return colours


def _on_white(image: Image.Image) -> NDArray[np.uint8]:
    rgba = image.convert("RGBA")
    return np.asarray(Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB"))


def _visible(image: Image.Image) -> NDArray[np.bool_]:
    return np.asarray(image.convert("RGBA"))[..., 3] > 0


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _size(photo: bytes) -> str:
    with Image.open(io.BytesIO(photo)) as image:
        return "×".join(map(str, image.size))


def _text(photos: str, formats: Sequence[Sequence[str]], presets: Sequence[Sequence[str]]) -> str:
    lines = [
        "# Formats: size and quality",
        "",
        textwrap.fill(INTRODUCTION.format(photos=photos), LINE, break_on_hyphens=False),
        "",
    ]
    lines += ["## Format and quality", "", *markdown_table(HEADER, formats), ""]
    lines += ["## Presets", "", *markdown_table(HEADER, presets)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
