"""Pipeline of a photo in an engine: decode, infer, cut out, encode; each stage is timed."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from PIL import Image

from app.engine.cascade import Prediction, predict
from app.engine.container import MEGABYTE
from app.engine.memory import MemoryGuard, predict_finishing, predict_growth
from app.engine.messages import EngineConfig
from app.engine.models import REGISTRY, ModelSpec
from app.engine.plans import CanvasPlan, PhotoPlan, Plan, needed_side
from app.engine.session import Session, SessionCache
from app.engine.shared import Predictor, SharedWork
from app.engine.sizing import drafted, largest_side
from app.errors import OutOfMemory, ServiceError, TransparentImage, UnknownForeground
from app.imaging.backdrop import blurred
from app.imaging.canvas import max_answer_pixels
from app.imaging.cutout import WHITE, Cutout, cut_out
from app.imaging.decode import Header, Photo, PixelLimits, decode, measure
from app.imaging.encode import MIMETYPES, encode
from app.imaging.formats import of_background
from app.imaging.geometry import fit_within
from app.imaging.own_alpha import is_visible, on_neutral_ground, visible_cells, without_hidden_colours
from app.imaging.refine import Refiner, keep
from app.imaging.specks import clean
from app.imaging.subject import confidence_of
from app.removal import MIN_CONFIDENCE, RGBA, Blur, RemovalOptions, RemovalRequest, RemovalResult

__all__ = ["Pipeline"]

# CPU seconds for decoding a photo and its background; the slowest files that pass all bounds take 1 to 2.
DECODE_SECONDS = 10.0
# Minimum side in px of a background that memory limits.
MIN_BACKGROUND_SIDE = 640
# Bytes per pixel of a decoded photo, held while its background is decoded.
HELD_BYTES = 5
ONE_PIXEL = Header("PNG", "RGB", (1, 1), (1, 1))


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
    """Turn requests into results."""

    def __init__(self, config: EngineConfig, sessions: SessionCache, memory: MemoryGuard | None = None) -> None:
        self._limits = PixelLimits(config.max_pixels, config.max_pixels_hard)
        self._sessions = sessions
        self._model = config.model
        self._memory = memory or MemoryGuard(config.memory_mb * MEGABYTE, config.memory_warn_mb * MEGABYTE)

    def order(self, requests: Sequence[RemovalRequest]) -> list[int]:
        """Return the order of requests for one photo: by model, the largest decoding first, whose mask all share."""
        if len(requests) == 1:
            return [0]
        models = [request.options.model for request in requests]
        return sorted(
            range(len(requests)), key=lambda number: (models.index(models[number]), -self._side(requests[number]))
        )

    def run(
        self, request: RemovalRequest, shared: SharedWork | None = None, *, alone: bool = False, fast: bool = False
    ) -> RemovalResult:
        """Return the result for the request's first options, or raise a ServiceError.

        `shared` is the work of earlier requests for the same photo. `alone` means that no other engine is busy, `fast`
        that a cascade must use its first model only.
        """
        options, stages = request.options, Stages(self._memory)
        sessions = self._load(REGISTRY[options.model])
        with stages.stage("decode"), _decode_deadline():
            plan = self._plan(request, sessions[0].model)
            photo = self._photo(request, plan, shared)
            background = self._background(request, photo, plan)
        predictor: Predictor = partial(
            predict, sessions, stage=stages.stage, alone=alone, fast=fast, exact=options.reference_mask
        )
        predictor = shared.predictor(options, predictor) if shared else predictor
        prediction = _predict(sessions[0].model, photo, stages, predictor)
        with stages.stage("cutout"):
            self._memory.make_room(_finishing(photo, options))
            mask = clean(prediction.mask) if options.clean_mask and not photo.is_cut_out else prediction.mask
            rgb, alpha = plan.at_output_scale(photo, mask)
            refiner = Refiner(options, self._memory.left)
            refine = keep if photo.is_cut_out else refiner
            cutout = cut_out(rgb, alpha, mask, refine, portrait=options.portrait and options.crop)
            confidence = prediction.confidence
            if confidence >= MIN_CONFIDENCE and not cutout.subject.width:  # nothing of the subject is visible
                confidence = 0.0
            if options.require_foreground and confidence < MIN_CONFIDENCE:
                raise UnknownForeground(details=f"confidence {confidence:.2f}")
            if isinstance(options.backdrop, Blur) and background is None:
                background = _blurred(rgb, alpha, cutout, options.backdrop)
            picture = plan.finish(cutout, photo, background)
        with stages.stage("encode"):
            output = plan.format(picture)
            body = encode(picture.image, output, options.quality)
        return RemovalResult(
            body=body,
            mimetype=MIMETYPES[output],
            width=picture.image.width,
            height=picture.image.height,
            foreground=picture.subject,
            confidence=round(confidence, 3),
            model=prediction.model,
            under_load=prediction.under_load,
            stages_ms=stages.ms,
            stages_mb=stages.mb,
            input_size=photo.full_size,
            max_size=plan.max_size(cutout, photo),
            scaled_down=plan.is_limited(picture, cutout, photo),
            matting_scale=refiner.matting_scale,
        )

    def _load(self, model: ModelSpec) -> list[Session]:
        """Return the sessions of a model, of all members of a cascade; after a load, measure the idle memory again."""
        loads = self._sessions.loads
        sessions = [self._sessions.get(part.name) for part in model.parts]
        if self._sessions.loads != loads and (self._memory.armed or model.name != self._model):
            self._memory.give_back()
            self._memory.arm()
        return sessions

    def _side(self, request: RemovalRequest) -> int:
        """Return the side that a photo is decoded to, 0 if that fails."""
        try:
            return self._plan(request, REGISTRY[request.options.model].parts[0]).side
        except ServiceError:
            return 0

    def _photo(self, request: RemovalRequest, plan: Plan, shared: SharedWork | None) -> Photo:
        """Return the photo, or its part, for the model; it is decoded unless `shared` has it in this size."""
        photo = shared.photo(plan) if shared is not None else None
        held = shared.held_bytes if shared is not None else 0
        if photo is None:
            photo = self._decode(request.image, request.options, plan.side, held, plan.min_side)
        else:
            header = drafted(measure(request.image, self._limits), plan.min_side)
            self._memory.admit(header, _growth(header, request.image, request.options, plan.side, held))
        if photo.alpha is not None and not is_visible(photo.alpha):
            raise TransparentImage()
        part = plan.part(photo)
        if shared is not None and part is photo:
            shared.keep(photo, plan)
        elif shared is not None:
            shared.free()  # the whole photo would be held in addition to its part
        return part

    def _decode(
        self, data: bytes, options: RemovalOptions, longest_side: int, held: int = 0, min_side: int = 0
    ) -> Photo:
        """Decode an image if its predicted memory fits in addition to `held` bytes."""

        def approve(header: Header) -> None:
            self._memory.admit(header, _growth(header, data, options, longest_side, held))

        sample_side = REGISTRY[options.model].size if options.reference_mask else 0
        return decode(data, longest_side, self._limits, approve, min_side, sample_side)

    def _plan(self, request: RemovalRequest, model: ModelSpec) -> Plan:
        options, canvas = request.options, request.options.canvas
        if canvas is None and not options.full_size:
            return PhotoPlan(options, model)
        header = measure(request.image, self._limits)
        if _growth(ONE_PIXEL, b"", options, 1, 0) > self._memory.room:
            raise OutOfMemory(solution="Choose a smaller canvas.")
        best = self._best_side(request, header, model)
        if not options.full_size:
            best = min(best, options.longest_side)
        if canvas is None:
            longest_side = min(best, needed_side(header.full_size, options, model))
            return PhotoPlan(replace(options, longest_side=longest_side), model)
        return CanvasPlan(options, canvas, model, header.full_size, best, bool(request.background_image))

    def _best_side(self, request: RemovalRequest, header: Header, model: ModelSpec) -> int:
        """Return the largest side of the photo that is predicted to fit into memory."""

        def fits(header: Header, side: int) -> bool:
            width, height = fit_within(header.full_size, side, side)
            held = HELD_BYTES * width * height if request.background_image else 0
            growth = _growth(header, request.image, request.options, side, held)
            return growth <= self._memory.room and header.size[0] * header.size[1] <= self._limits.decoded

        return largest_side(header, 2 * model.size, fits)

    def _background(self, request: RemovalRequest, photo: Photo, plan: Plan) -> Image.Image | None:
        if not request.background_image or request.options.mask_only:
            return None
        held = len(request.image) + HELD_BYTES * photo.size[0] * photo.size[1]
        with of_background():
            side = min(plan.background_side(photo), self._fitting_side(request, held))
            background = self._decode(request.background_image, request.options, side, held)
        return _opaque(background, request.options.background or WHITE)

    def _fitting_side(self, request: RemovalRequest, held: int) -> int:
        """Return the largest side of the background that is predicted to fit; it is scaled up to cover the answer."""
        image, options = request.background_image, request.options

        def fits(header: Header, side: int) -> bool:
            return _growth(header, image, options, side, held) <= self._memory.room

        return largest_side(measure(image, self._limits), MIN_BACKGROUND_SIDE, fits)


def _predict(model: ModelSpec, photo: Photo, stages: Stages, predictor: Predictor) -> Prediction:
    """Return the mask of a photo's visible part; the model does not run if it is already cut out."""
    if photo.alpha is None:
        return predictor(photo.sample or photo.rgb)
    visible = visible_cells(photo.alpha, model.size)
    if photo.is_cut_out:
        with stages.stage("infer"):
            return Prediction(visible, visible, 1.0, model.name)
    found = predictor(on_neutral_ground(photo.rgb, photo.alpha))
    raw = visible * found.raw
    return replace(found, raw=raw, mask=visible * found.mask, confidence=confidence_of(raw))


def _blurred(rgb: Image.Image, alpha: Image.Image | None, cutout: Cutout, blur: Blur) -> Image.Image:
    """Return the blurred background of a photo, without colours that its own alpha hides."""
    shown = without_hidden_colours(rgb, alpha) if alpha else rgb
    return blurred(shown, cutout.image.getchannel("A"), blur.strength)


def _growth(header: Header, data: bytes, options: RemovalOptions, side: int, held: int) -> int:
    """Return the predicted memory, in bytes, of an image that is processed at this side."""
    answer_pixels = max_answer_pixels(header.full_size, options, min(1.0, side / max(header.full_size)))
    return predict_growth(header, len(data), side, held=held, output=options.format, answer_pixels=answer_pixels)


def _finishing(photo: Photo, options: RemovalOptions) -> int:
    """Return the predicted memory, in bytes, of a photo after the inference."""
    answer_pixels = max_answer_pixels(photo.full_size, options, max(photo.size) / max(photo.full_size))
    return predict_finishing(photo.size, options.format, answer_pixels)


def _opaque(photo: Photo, colour: RGBA) -> Image.Image:
    """Fill the transparent parts of a background photo with a colour."""
    if photo.alpha is None:
        return photo.rgb
    canvas = Image.new("RGB", photo.size, colour[:3])
    canvas.paste(photo.rgb, (0, 0), photo.alpha)
    return canvas
