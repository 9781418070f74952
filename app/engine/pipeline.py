"""The path of a photo inside an engine: decode, infer, cut out, encode, each stage timed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

from app.engine.messages import RGBA, EngineConfig, RemovalOptions, RemovalRequest, RemovalResult
from app.engine.models import ModelSpec
from app.engine.session import SessionCache
from app.errors import ServiceError, UnknownForeground
from app.imaging.cutout import WHITE, cut_out, finish
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
            photo = decode(request.background_image, request.options.longest_side, self._limits)
        except ServiceError as error:
            error.message = f"background_file: {error.message}"
            raise
        return _opaque(photo, request.options.background or WHITE)


def _opaque(photo: Photo, colour: RGBA) -> Image.Image:
    """Put a background photo's own transparent parts on a colour."""
    if photo.alpha is None:
        return photo.rgb
    canvas = Image.new("RGB", photo.size, colour[:3])
    canvas.paste(photo.rgb, (0, 0), photo.alpha)
    return canvas


def _decoded_side(options: RemovalOptions, model: ModelSpec) -> int:
    """Return the longer side to decode to, in px: less than the working size where the answer is known to be small.

    Twice the model's input keeps the mask as good as that of a large answer.
    """
    if options.crop or options.max_width is None or options.max_height is None:
        return options.longest_side
    return min(options.longest_side, max(options.max_width, options.max_height, 2 * model.size))


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
