"""How much memory a photo will take, known before it is decoded; and what an engine takes now.

The figures are fits to measured peaks (`tests/engine/test_memory.py` holds them between one and two times the truth).
They count bytes of resident memory on top of what the idle engine takes.
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

__all__ = ["MemoryGuard", "is_out_of_memory", "predict_growth", "resident_bytes"]

log = logging.getLogger(__name__)

# Bytes per decoded pixel, as Pillow keeps it: everything with colour in four.
STORED = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}
# Bytes per pixel that these decoders hold at once beyond Pillow's own, with alpha counted in.
DECODER = {"WEBP": 11.0, "AVIF": 3.5, "HEIF": 2.5}
# Floats, their mask and the 8-bit copy while 16-bit and float images are brought to 8 bits.
TO_8_BIT = 12.0
# Photo, colours, alpha, cut-out and encoder, per pixel of the working size; WEBP's encoder keeps planes of its own.
FINISHING, WEBP_ENCODER = 21.0, 9.0
# The small grids of the guided filter and lite's arena, which do not grow with the photo, and allocator slack.
FIXED = 60 * MEGABYTE
MARGIN = 1.15
PAGE = resource.getpagesize()


def predict_growth(
    header: Header, data_bytes: int, longest_side: int, *, held: int = 0, webp: bool = False, answer_pixels: int = 0
) -> int:
    """Return the bytes that a photo needs at its peak, beyond an idle engine.

    `longest_side` is the working size in px, `data_bytes` the encoded size, `held` what other decoded images take
    meanwhile, `webp` whether the answer is WEBP, `answer_pixels` how many it has where it may have more than the photo.
    """
    width, height = fit_within(header.full_size, longest_side, longest_side)
    finishing = max(width * height, answer_pixels) * (FINISHING + (WEBP_ENCODER if webp else 0))
    return int(data_bytes + held + FIXED + MARGIN * max(_decoding(header, (width, height)), finishing))


def _decoding(header: Header, working: tuple[int, int]) -> float:
    pixels = header.size[0] * header.size[1]
    stored = STORED.get(header.mode, 4)
    per_pixel = stored + DECODER.get(header.format, 0.0)
    if header.mode.startswith(("I", "F")):
        per_pixel += TO_8_BIT
    elif stored == 1 and header.mode != "L":
        per_pixel += 4  # a palette is expanded before it is scaled
    if header.transparent:
        per_pixel += 4  # alpha is multiplied in before scaling
    return pixels * per_pixel + _reduced(header.size, working) + _coefficients(header)


def _reduced(size: tuple[int, int], working: tuple[int, int]) -> float:
    """Return the bytes between the steps of scaling down.

    Pillow reduces by whole factors (its `reducing_gap` of 2), then resamples across, then down.
    """
    x, y = (max(1, int(full / small / 2)) for full, small in zip(size, working, strict=True))
    reduced = 4 * size[0] * size[1] / (x * y) if x * y > 1 else 0
    return reduced + 4 * working[0] * size[1] / y


def _coefficients(header: Header) -> float:
    """Return the bytes of a progressive JPEG's coefficients: all of them, at full size, whatever is drafted."""
    return 2 * header.samples_per_pixel * header.full_size[0] * header.full_size[1] if header.progressive else 0


def resident_bytes() -> int:
    """Return the resident memory of this process."""
    if sys.platform == "linux":  # several times a photo, in a third of the time that psutil takes
        return _pages(1)
    import psutil  # 2 MB that an engine need not have

    return int(psutil.Process().memory_info().rss)


@dataclass
class MemoryGuard:
    """Keep an engine under its cap, in bytes of resident memory: refuse what can't fit, stop what does not."""

    cap: int
    warn: int
    idle: int = 0
    armed: bool = False
    give_back: Callable[[], None] = give_back_freed_memory

    def arm(self) -> None:
        """Learn what the idle engine takes, once its model has been warmed up, and cap its growth."""
        self.idle = resident_bytes()
        self.armed = True
        self.limit_growth()

    def limit_growth(self) -> None:
        """Cap what may be allocated from now on, so that resident memory stays under the cap.

        RLIMIT_DATA counts address space, also of stacks and pools that are never touched and of heap that was trimmed
        long ago: measured once, it would leave less and less. So the limit is set anew before each photo. Native code
        answers it with bad_alloc or SIGABRT, Python with MemoryError.
        """
        if data := _data_bytes():
            _limit_data(data + max(0, self.cap - resident_bytes()))

    @property
    def room(self) -> int:
        """Return what one photo may take."""
        return self.cap - self.idle

    @property
    def left(self) -> int:
        """Return what may still be taken now, with a tenth kept back."""
        return int(0.9 * max(0, self.cap - resident_bytes()))

    def admit(self, header: Header, growth: int) -> None:
        """Raise OutOfMemory, with the size that would fit, when a photo's predicted growth does not."""
        room = self.room
        if growth <= room:
            if self.armed and growth > self.cap - resident_bytes():
                self.give_back()
                self.limit_growth()
            return
        pixels = header.full_size[0] * header.full_size[1]
        fitting = max(0.1, 0.9 * pixels * (room - FIXED) / (growth - FIXED) / 1e6)
        raise OutOfMemory(
            details=f"needs about {growth // MEGABYTE} MB, {room // MEGABYTE} MB are free for one image",
            solution=f"Send an image of at most {fitting:.1f} megapixels.",
        )

    def resident_without_waste(self) -> int:
        """Return the resident bytes; where they pass the mark, once freed memory has been given back."""
        resident = resident_bytes()
        if resident <= self.warn:
            return resident
        self.give_back()
        return resident_bytes()

    def watch(self, stage: str) -> int:
        """Return the resident MB after a stage; log a warning past the mark."""
        resident = resident_bytes()
        if resident > self.warn:
            log.warning(
                "memory.warning stage=%s rss_mb=%d cap_mb=%d", stage, resident // MEGABYTE, self.cap // MEGABYTE
            )
        return resident // MEGABYTE


def _limit_data(limit: int) -> None:
    """Set the soft limit, which may not exceed a hard one that somebody else has set."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    soft = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _data_bytes() -> int:
    """Return the private writable address space with the stack, 0 where the system does not tell (Linux does)."""
    return _pages(5) if sys.platform == "linux" else 0


def _pages(field: int) -> int:
    """Return the bytes of the pages that a field of /proc/self/statm counts (proc(5))."""
    return int(Path("/proc/self/statm").read_bytes().split()[field]) * PAGE


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an exception, whoever raised it, means that memory ran out."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(
        sign in text
        for sign in ("bad_alloc", "bad allocation", "failed to allocate", "insufficient memory", "out of memory")
    )
