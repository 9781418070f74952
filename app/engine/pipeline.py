"""Pipeline of a photo in an engine: decode, infer, cut out, encode; each stage is timed."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

from app.engine.container import MEGABYTE
from app.engine.memory import MemoryGuard, predict_growth
from app.engine.messages import EngineConfig
from app.engine.models import ModelSpec
from app.engine.plans import CanvasPlan, PhotoPlan, Plan
from app.engine.session import Session, SessionCache
from app.engine.sizing import largest_side
from app.errors import ServiceError, UnknownForeground
from app.imaging.canvas import max_answer_pixels
from app.imaging.cutout import WHITE, cut_out
from app.imaging.decode import Header, Photo, PixelLimits, decode, measure
from app.imaging.encode import MIMETYPES, encode
from app.imaging.geometry import fit_within
from app.imaging.refine import Refiner
from app.imaging.subject import SUBJECT, confidence_of, stretch
from app.removal import RGBA, RemovalOptions, RemovalRequest, RemovalResult

__all__ = ["Pipeline"]

# CPU seconds for decoding a photo and its background; the slowest files that pass all bounds take 1 to 2.
DECODE_SECONDS = 10.0

# Bytes per pixel of a decoded photo, held while its background is decoded.
HELD_BYTES = 5


class Stages:
    """Milliseconds of each stage and resident MB after it, by name."""

    def __init__(self, memory: MemoryGuard) -> None:
        self._memory = memory
        self.ms: dict[str, float] = {}
        self.mb: dict[str, int] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the block as one stage, and measure the memory after it."""
        start = time.perf_counter()
        yield
        self.ms[name] = round((time.perf_counter() - start) * 1000, 2)
        self.mb[name] = self._memory.watch(name)


@contextmanager
def _decode_deadline() -> Iterator[None]:
    """End the process with SIGPROF, also in native code, when the block takes more CPU time than DECODE_SECONDS."""
    signal.setitimer(signal.ITIMER_PROF, DECODE_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


class Pipeline:
    """Turn requests into results with one model session at a time."""

    def __init__(self, config: EngineConfig, sessions: SessionCache, memory: MemoryGuard | None = None) -> None:
        self._limits = PixelLimits(config.max_pixels, config.max_pixels_hard)
        self._sessions = sessions
        self._model = config.model
        self._memory = memory or MemoryGuard(config.memory_mb * MEGABYTE, config.memory_warn_mb * MEGABYTE)

    def run(self, request: RemovalRequest, *, alone: bool = False) -> RemovalResult:
        """Return the result, or raise a ServiceError.

        `alone` means that no other engine is busy.
        """
        options, stages = request.options, Stages(self._memory)
        session = self._session(options.model)
        with stages.stage("decode"), _decode_deadline():
            plan = self._plan(request, session.model)
            photo = plan.part(self._decode(request.image, options, plan.side, min_side=plan.min_side))
            background = self._background(request, photo, plan)
        with stages.stage("infer"):
            raw = session.predict(photo.rgb, alone=alone)
            confidence = confidence_of(raw)
            if options.require_foreground and confidence < SUBJECT:
                raise UnknownForeground(details=f"confidence {confidence:.2f}")
        with stages.stage("cutout"):
            rgb, alpha = plan.at_output_scale(photo, raw)
            mask = stretch(raw) if session.model.stretch else raw
            refiner = Refiner(options, self._memory.left)
            cutout = cut_out(rgb, alpha, mask, refiner)
            picture = plan.finish(cutout, photo, background)
        with stages.stage("encode"):
            output = plan.format(picture)
            body = encode(picture.image, output, options.quality)
        width, height = picture.image.size
        return RemovalResult(
            body=body,
            mimetype=MIMETYPES[output],
            width=width,
            height=height,
            foreground=picture.subject,
            confidence=round(confidence, 3),
            model=session.model.name,
            stages_ms=stages.ms,
            stages_mb=stages.mb,
            input_size=photo.full_size,
            max_size=plan.max_size(cutout, photo),
            matting_scale=refiner.matting_scale,
        )

    def _session(self, name: str) -> Session:
        """Return the model's session; measure the idle memory again after a change of the model."""
        session = self._sessions.get(name)
        if name != self._model:
            self._model = name
            self._memory.arm()
        return session

    def _decode(
        self, data: bytes, options: RemovalOptions, longest_side: int, held: int = 0, min_side: int = 0
    ) -> Photo:
        """Decode an image if its predicted memory fits in addition to `held` bytes."""

        def approve(header: Header) -> None:
            self._memory.admit(header, _growth(header, data, options, longest_side, held))

        return decode(data, longest_side, self._limits, approve, min_side)

    def _plan(self, request: RemovalRequest, model: ModelSpec) -> Plan:
        options, canvas = request.options, request.options.canvas
        if canvas is None:
            return PhotoPlan(options, model)
        header = measure(request.image, self._limits)

        def fits(header: Header, side: int) -> bool:
            width, height = fit_within(header.full_size, side, side)
            held = HELD_BYTES * width * height if request.background_image else 0
            growth = _growth(header, request.image, options, side, held)
            return growth <= self._memory.room and header.size[0] * header.size[1] <= self._limits.decoded

        best = largest_side(header, 2 * model.size, fits)
        return CanvasPlan(options, canvas, model, header.full_size, best, bool(request.background_image))

    def _background(self, request: RemovalRequest, photo: Photo, plan: Plan) -> Image.Image | None:
        if not request.background_image or request.options.mask_only:
            return None
        held = len(request.image) + HELD_BYTES * photo.size[0] * photo.size[1]
        try:
            background = self._decode(request.background_image, request.options, plan.background_side(photo), held)
        except ServiceError as error:
            error.message = f"background: {error.message}"
            raise
        return _opaque(background, request.options.background or WHITE)


def _growth(header: Header, data: bytes, options: RemovalOptions, side: int, held: int) -> int:
    """Return the predicted memory, in bytes, of an image that is processed at this side."""
    answer_pixels = max_answer_pixels(header.full_size, options, min(1.0, side / max(header.full_size)))
    webp = options.format == "WEBP"
    return predict_growth(header, len(data), side, held=held, webp=webp, answer_pixels=answer_pixels)


def _opaque(photo: Photo, colour: RGBA) -> Image.Image:
    """Fill the transparent parts of a background photo with a colour."""
    if photo.alpha is None:
        return photo.rgb
    canvas = Image.new("RGB", photo.size, colour[:3])
    canvas.paste(photo.rgb, (0, 0), photo.alpha)
    return canvas
