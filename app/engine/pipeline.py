"""The path of a photo inside an engine: decode, infer, cut out, encode, each stage timed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

from app.engine.messages import EngineConfig, RemovalOptions, RemovalRequest, RemovalResult
from app.engine.models import ModelSpec
from app.engine.session import SessionCache
from app.errors import ServiceError, UnknownForeground
from app.imaging.cutout import cut_out, finish
from app.imaging.decode import Photo, PixelLimits, decode
from app.imaging.encode import MIMETYPES, encode
from app.imaging.geometry import fit_within
from app.imaging.subject import SUBJECT, confidence_of, stretch

__all__ = ["Pipeline"]


class Stopwatch:
    """Milliseconds of each stage, by name."""

    def __init__(self) -> None:
        self.stages_ms: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the block as one stage."""
        start = time.perf_counter()
        yield
        self.stages_ms[name] = round((time.perf_counter() - start) * 1000, 2)


class Pipeline:
    """Turn requests into results with one model session at a time."""

    def __init__(self, config: EngineConfig, sessions: SessionCache) -> None:
        self._limits = PixelLimits(config.max_pixels, config.max_pixels_hard)
        self._sessions = sessions

    def run(self, request: RemovalRequest) -> RemovalResult:
        """Return the finished picture; raise a ServiceError that says what is wrong with the request."""
        options, watch = request.options, Stopwatch()
        session = self._sessions.get(options.model)
        with watch.stage("decode"):
            photo = decode(request.image, _decoded_side(options, session.model), self._limits)
            background = self._background(request)
        with watch.stage("infer"):
            raw = session.predict(photo.rgb)
            confidence = confidence_of(raw)
            if options.require_foreground and confidence < SUBJECT:
                raise UnknownForeground(details=f"confidence {confidence:.2f}")
        with watch.stage("cutout"):
            rgb, alpha = _at_output_scale(photo, options)
            mask = stretch(raw) if session.model.stretch else raw
            picture = finish(cut_out(rgb, alpha, mask, options.refine), options, background)
        with watch.stage("encode"):
            body = encode(picture.image, options.format, options.quality)
        width, height = picture.image.size
        return RemovalResult(
            body=body,
            mimetype=MIMETYPES[options.format],
            width=width,
            height=height,
            foreground=picture.subject,
            confidence=round(confidence, 3),
            model=session.model.name,
            stages_ms=watch.stages_ms,
        )

    def _background(self, request: RemovalRequest) -> Image.Image | None:
        if not request.background_image or request.options.mask_only:
            return None
        try:
            return decode(request.background_image, request.options.longest_side, self._limits).rgb
        except ServiceError as error:
            error.message = f"background_file: {error.message}"
            raise


def _bound(options: RemovalOptions) -> int | None:
    """Return the longer side, in px, that bounds the answer already before it is cut out; None when cropping may."""
    return None if options.crop else max(options.max_width or 0, options.max_height or 0) or None


def _decoded_side(options: RemovalOptions, model: ModelSpec) -> int:
    """Return the longer side to decode to: the working size, less where the answer is small, never under the model's."""
    bound = _bound(options) or options.longest_side
    return min(options.longest_side, max(bound, 2 * model.size))


def _at_output_scale(photo: Photo, options: RemovalOptions) -> tuple[Image.Image, Image.Image | None]:
    """Scale the photo down to the answer's size before cutting out, where cropping does not forbid it."""
    if options.crop:
        return photo.rgb, photo.alpha
    longest = options.longest_side
    size = fit_within(
        photo.size, min(options.max_width or longest, longest), min(options.max_height or longest, longest)
    )
    if size == photo.size:
        return photo.rgb, photo.alpha
    rgb = photo.rgb.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    return rgb, photo.alpha.resize(size, Image.Resampling.LANCZOS) if photo.alpha else None
