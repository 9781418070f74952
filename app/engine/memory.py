"""Prediction of a photo's memory before it is decoded, and limits on the resident memory of an engine.

The figures are fitted to measured peaks; `tests/engine/test_memory.py` keeps predictions between one and two times the
measurement. They count bytes of resident memory in addition to those of the idle engine.
"""

from __future__ import annotations

import logging
import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from app.engine.allocator import give_back_freed_memory
from app.engine.container import MEGABYTE
from app.errors import OutOfMemory
from app.imaging.decode import Header
from app.imaging.geometry import fit_within

__all__ = ["MemoryGuard", "is_out_of_memory", "predict_finishing", "predict_growth", "resident_bytes"]

log = logging.getLogger(__name__)

# Bytes per decoded pixel in Pillow's own storage; 4 for all modes with colour.
STORED = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}
# Bytes per pixel of the decoders' own buffers, including alpha.
DECODER = {"WEBP": 11.0, "AVIF": 3.5, "HEIF": 2.5}
# Bytes per pixel of floats, mask and 8-bit copy while 16-bit and float images are converted to 8 bits.
TO_8_BIT = 12.0
# Bytes per pixel at working size of photo, colours, alpha, cut-out and encoder; some encoders have more planes.
# That of AVIF reserves 7 more than it uses, which the limit of allocations counts.
FINISHING, ENCODER = 21.0, {"WEBP": 10.5, "AVIF": 19.0}
# Bytes per pixel of an answer on a canvas, with the placed cut-out, and per working pixel of the cut-out meanwhile.
PLACING, CUTOUT = 14.0, 5.0
# Grids of the guided filter, lite's arena and allocator slack, independent of the photo's size.
FIXED = 60 * MEGABYTE
MARGIN = 1.15
PAGE = resource.getpagesize()
# In errors of all libraries; libavif does not pass on the reason of its encoder.
OUT_OF_MEMORY = (
    "bad_alloc",
    "bad allocation",
    "failed to allocate",
    "insufficient memory",
    "out of memory",
    "planes failed",
)
# VP8_ENC_ERROR_OUT_OF_MEMORY and VP8_ENC_ERROR_BITSTREAM_OUT_OF_MEMORY of libwebp, as Pillow reports them.
WEBP_OUT_OF_MEMORY = {"encoding error 1", "encoding error 2"}


def predict_growth(
    header: Header, data_bytes: int, longest_side: int, *, held: int = 0, output: str = "PNG", answer_pixels: int = 0
) -> int:
    """Return the peak memory of a photo in bytes, in addition to the idle engine's.

    `longest_side` is the working size in px, `data_bytes` the encoded size, `held` the bytes of other decoded images,
    `output` the answer's format, `answer_pixels` its number of pixels where it may exceed the photo's.
    """
    working = fit_within(header.full_size, longest_side, longest_side)
    finishing = _finishing(working, output, answer_pixels)
    return int(data_bytes + held + FIXED + MARGIN * max(_decoding(header, working), finishing))


def predict_finishing(working: tuple[int, int], output: str, answer_pixels: int) -> int:
    """Return the peak memory in bytes after the inference, of a photo of this working size in px."""
    return int(FIXED + MARGIN * _finishing(working, output, answer_pixels))


def _finishing(working: tuple[int, int], output: str, answer_pixels: int) -> float:
    pixels, encoder = working[0] * working[1], ENCODER.get(output, 0.0)
    placing = answer_pixels * (PLACING + encoder) + pixels * CUTOUT if answer_pixels else 0
    return max(pixels * (FINISHING + encoder), placing)


def _decoding(header: Header, working: tuple[int, int]) -> float:
    pixels = header.size[0] * header.size[1]
    stored = STORED.get(header.mode, 4)
    per_pixel = stored + DECODER.get(header.format, 0.0)
    if header.mode.startswith(("I", "F")):
        per_pixel += TO_8_BIT
    elif stored == 1 and header.mode != "L":
        per_pixel += 4  # a palette is expanded before scaling
    if header.transparent:
        per_pixel += 4  # alpha is multiplied in before scaling
    return pixels * per_pixel + _reduced(header.size, working) + _coefficients(header)


def _reduced(size: tuple[int, int], working: tuple[int, int]) -> float:
    """Return the bytes of the intermediate images while scaling down.

    Pillow reduces by integer factors (`reducing_gap` is 2), then resamples horizontally, then vertically.
    """
    x, y = (max(1, int(full / small / 2)) for full, small in zip(size, working, strict=True))
    reduced = 4 * size[0] * size[1] / (x * y) if x * y > 1 else 0
    return reduced + 4 * working[0] * size[1] / y


def _coefficients(header: Header) -> float:
    """Return the bytes of a progressive JPEG's coefficients, which are held at full size even for a draft."""
    return 2 * header.samples_per_pixel * header.full_size[0] * header.full_size[1] if header.progressive else 0


def resident_bytes() -> int:
    """Return the resident memory of this process."""
    if sys.platform == "linux":  # called several times per photo; psutil takes three times as long
        return _pages(1)
    import psutil  # takes 2 MB of an engine's memory

    return int(psutil.Process().memory_info().rss)


@dataclass
class MemoryGuard:
    """Guard of an engine's memory cap, in bytes of resident memory: refuse images that can't fit, limit allocations."""

    cap: int
    warn: int
    idle: int = 0
    armed: bool = False
    give_back: Callable[[], None] = give_back_freed_memory

    def arm(self) -> None:
        """Measure the idle engine after its model was warmed up, and limit its growth."""
        self.idle = resident_bytes()
        self.armed = True
        self.limit_growth()

    def limit_growth(self) -> None:
        """Limit further allocations, so that resident memory stays under the cap.

        RLIMIT_DATA counts address space, including stacks and pools that are never touched and heap that was trimmed
        since, so a limit that is set once would become too low. It is set again before each photo. At the limit native
        code throws bad_alloc or aborts (SIGABRT), and Python raises MemoryError.
        """
        if data := _data_bytes():
            _limit_data(data + max(0, self.cap - resident_bytes()))

    @property
    def room(self) -> int:
        """Return the bytes that one photo may use."""
        return self.cap - self.idle

    @property
    def left(self) -> int:
        """Return the bytes that may still be allocated now, less a tenth as a reserve."""
        return int(0.9 * max(0, self.cap - resident_bytes()))

    def admit(self, header: Header, growth: int) -> None:
        """Raise OutOfMemory, with the size that would fit, when a photo's predicted growth is too large."""
        room = self.room
        if growth <= room:
            self.make_room(growth)
            return
        pixels = header.full_size[0] * header.full_size[1]
        fitting = max(0.1, 0.9 * pixels * (room - FIXED) / (growth - FIXED) / 1e6)
        raise OutOfMemory(
            details=f"needs about {growth // MEGABYTE} MB, {room // MEGABYTE} MB are free for one image",
            solution=f"Send an image of at most {fitting:.1f} megapixels.",
        )

    def make_room(self, growth: int) -> None:
        """Give back the memory of the last inference if the growth would exceed the cap in addition to it.

        The limit of allocations is set again, as the last inference has reserved address space that it does not use.
        """
        if not self.armed:
            return
        if growth > self.cap - resident_bytes():
            self.give_back()
        self.limit_growth()

    def retained_bytes(self) -> int:
        """Return the resident memory; above the warning threshold, measured after freed memory was given back."""
        resident = resident_bytes()
        if resident <= self.warn:
            return resident
        self.give_back()
        return resident_bytes()

    def watch(self, stage: str) -> int:
        """Return the resident MB after a stage; log a warning above the warning threshold."""
        resident = resident_bytes()
        if resident > self.warn:
            log.warning(
                "memory.warning stage=%s rss_mb=%d cap_mb=%d", stage, resident // MEGABYTE, self.cap // MEGABYTE
            )
        return resident // MEGABYTE


def _limit_data(limit: int) -> None:
    """Set the soft limit, at most the hard limit of the environment."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    soft = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _data_bytes() -> int:
    """Return the bytes of private writable address space with the stack, 0 on systems other than Linux."""
    return _pages(5) if sys.platform == "linux" else 0


def _pages(field: int) -> int:
    """Return a field of /proc/self/statm, which counts pages, in bytes (proc(5))."""
    return int(Path("/proc/self/statm").read_bytes().split()[field]) * PAGE


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception of any library means that memory ran out."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or text in WEBP_OUT_OF_MEMORY or any(sign in text for sign in OUT_OF_MEMORY)
