"""Measurement of photos' peak memory in a separate process: `python -m tests.support.peak_memory`.

Reads lines `PATH LONGEST_SIDE [LAYOUT]` from standard input and prints, for each, a JSON line with the predicted and
the measured growth over the idle engine, in bytes. LAYOUT is a name in LAYOUTS, or several for several results, joined
by commas; with a trailing `+` the photo is also its own background.
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path
from typing import Any

import cv2
from PIL import Image

from app.engine.allocator import keep_heap_small
from app.engine.arena import give_back_memory
from app.engine.memory import MemoryGuard, resident_bytes
from app.engine.messages import EngineConfig
from app.engine.pipeline import Pipeline
from app.engine.session import SessionCache
from app.engine.shared import SharedWork
from app.engine.worker import MMAP_THRESHOLD, TRIM_THRESHOLD
from app.imaging.decode import Header
from app.removal import Blur, Canvas, Length, RemovalOptions, RemovalRequest

NEARLY_ALL = (Length(99, "%"), Length(99, "%"))
FULL = 25_000_000
LAYOUTS: dict[str, dict[str, Any]] = {
    "native-png": {"full_size": True, "quality": 95},
    "native-crop-webp": {"full_size": True, "format": "WEBP", "crop": True},
    "native-avif": {"full_size": True, "format": "AVIF"},
    "native-canvas": {
        "full_size": True,
        "format": "JPEG",
        "canvas": Canvas(FULL, scale=0.85, position=(0.5, 0.5), size=(4000, 4000)),
    },
    "native-blur": {"full_size": True, "format": "JPEG", "backdrop": Blur(1)},
    "full-png": {"full_size": True, "canvas": Canvas(FULL)},
    "full-jpeg": {"full_size": True, "canvas": Canvas(FULL), "format": "JPEG"},
    "full-webp": {"full_size": True, "canvas": Canvas(FULL), "format": "WEBP"},
    "full-zip": {"full_size": True, "canvas": Canvas(FULL), "format": "ZIP"},
    "full-auto": {"full_size": True, "canvas": Canvas(FULL), "format": "AUTO", "background": (0, 128, 0, 255)},
    "crop-jpeg": {
        "full_size": True,
        "canvas": Canvas(FULL),
        "format": "JPEG",
        "crop": True,
        "crop_margin": (Length(500),) * 4,
    },
    "crop-webp": {
        "full_size": True,
        "canvas": Canvas(FULL),
        "format": "WEBP",
        "crop": True,
        "crop_margin": (Length(500),) * 4,
    },
    "crop-small": {"full_size": True, "canvas": Canvas(250_000), "crop": True},
    "scale-jpeg": {"full_size": True, "canvas": Canvas(FULL, scale=1.0, position=(0.5, 0.5)), "format": "JPEG"},
    "roi-webp": {"full_size": True, "canvas": Canvas(FULL, roi=(Length(1), Length(1), *NEARLY_ALL)), "format": "WEBP"},
}


class Recorder(MemoryGuard):
    """Admit everything and record the predictions."""

    predicted = 0

    def admit(self, header: Header, growth: int) -> None:
        self.predicted = max(self.predicted, growth)


def peak_bytes() -> int:
    """Return the peak resident memory since the last reset (proc(5), VmHWM)."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def run(pipeline: Pipeline, request: RemovalRequest) -> None:
    """Process a request as an engine does."""
    singles = request.singles
    shared = SharedWork() if len(singles) > 1 else None
    for number in pipeline.order(singles):
        pipeline.run(singles[number], shared)
        gc.collect()


def main() -> None:
    cv2.setNumThreads(1)
    keep_heap_small(MMAP_THRESHOLD, TRIM_THRESHOLD)
    sessions = SessionCache(threads=1)
    memory = Recorder(cap=1 << 40, warn=1 << 40)
    pipeline = Pipeline(EngineConfig("lite", 1, 10**9, 10**9), sessions, memory)
    sessions.get("lite").predict(Image.new("RGB", (320, 320), "grey"))
    for line in sys.stdin:
        path, side, layout = [*line.split(), ""][:3]
        image = Path(path).read_bytes()
        options = [RemovalOptions("lite", int(side), **LAYOUTS.get(name, {})) for name in layout.rstrip("+").split(",")]
        gc.collect()
        give_back_memory()
        idle = resident_bytes()
        reset_peak()
        memory.predicted = 0
        run(pipeline, RemovalRequest(image, options[0], image if layout.endswith("+") else b"", "", tuple(options[1:])))
        answer = {"idle": idle, "predicted": memory.predicted, "measured": peak_bytes() - idle}
        print(json.dumps(answer), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
