"""Model session of an engine process."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from PIL import Image

from app.engine import weights
from app.engine.arena import share_arena, shrink_arena
from app.engine.models import REGISTRY, ModelSpec, affinity
from app.engine.providers import CPU, CUDA, OPENVINO, not_installed
from app.errors import ModelUnavailable
from app.imaging import reference
from app.imaging.lanczos import shrink_to_square

__all__ = ["Session", "SessionCache", "load_session"]

log = logging.getLogger(__name__)

RETRY_SECONDS = 30.0
# MB of an engine without a tight memory cap.
LARGE_CAP_MB = 1 << 20
PROVIDER_ADVICE = (
    "An operator finds the packages of each provider in docs/deployment.md, or can empty EXECUTION_PROVIDERS."
)


@dataclass(frozen=True, slots=True)
class Session:
    """A loaded model."""

    model: ModelSpec
    inference: Any
    input_name: str
    output_name: str
    # Loader of a second session with more threads, cached; None for heavy models.
    inference_alone: Callable[[], Any] | None = None
    # Loader of a session of the graph as exported, cached; None where `inference` is one.
    inference_exact: Callable[[], Any] | None = None

    @property
    def provider(self) -> str:
        """Return the execution provider that runs the model."""
        return str(self.inference.get_providers()[0])

    def predict(self, image: Image.Image, *, alone: bool = False, exact: bool = False) -> NDArray[np.float32]:
        """Return the model's raw probabilities, float32 in 0..1, shape (size, size), for an RGB image of any size.

        `alone` means that the other cores are idle, `exact` that the values must be rembg's to the bit. They are not
        stretched: their maximum is the confidence. The runtime's errors pass through, including those of failed
        allocations.
        """
        inference = self.inference
        if exact and self.inference_exact:
            inference = self.inference_exact()
        elif alone and self.inference_alone:
            inference = self.inference_alone()
        outputs = inference.run([self.output_name], {self.input_name: self.preprocess(image, exact=exact)})
        raw: NDArray[np.float32] = np.asarray(outputs[0], np.float32)[0, 0]
        if self.model.activation == "sigmoid":
            raw = np.float32(1) / (np.float32(1) + np.exp(-raw))
        return np.minimum(np.fmax(raw, np.float32(0)), np.float32(1))  # fmax turns NaN into 0

    def preprocess(self, image: Image.Image, *, exact: bool = False) -> NDArray[np.float32]:
        """Return the model's input, float32, shape (1, 3, size, size): rembg's `normalize`, by default approximated."""
        if exact:
            return reference.normalized(image, self.model.size, self.model.mean, self.model.std)
        planes = shrink_to_square(image, self.model.size, self.model.gap)
        brightest = max(float(planes.max()), 1e-6)
        for plane, mean, std in zip(planes, self.model.mean, self.model.std, strict=True):
            plane *= np.float32(1 / (brightest * std))
            plane -= np.float32(mean / std)
        return planes[None]


def load_session(
    model: ModelSpec,
    threads: int,
    threads_alone: int = 0,
    providers: Sequence[str] = (CPU,),
    cap_mb: int = LARGE_CAP_MB,
) -> Session:
    """Load a model; raise ModelUnavailable when its weights or a provider are missing, damaged or can't be loaded.

    `cap_mb` is the engine's memory cap; under a small one the lean graph of a model also replaces the exact one.
    """
    _prepare(providers)
    path = weights.graph(model)
    weights.check(model, path)
    options = _session_options(threads)
    try:
        if model.embedded:
            inference = ort.InferenceSession(str(path), options, providers=_with_options(providers, threads))
        else:
            from app.engine.rembg_entry import session_class

            rembg_session = session_class(model)(model.name, options, providers=_with_options(providers, threads))
            inference = rembg_session.inner_session
    except (ModelUnavailable, MemoryError):
        raise
    except Exception as error:  # onnxruntime raises a dozen unrelated types for an unreadable file
        log.exception("model %s could not be loaded from %s", model.name, path)
        raise ModelUnavailable(
            f"The weights of model {model.name!r} could not be loaded.",
            solution=f"An operator can delete {path.name} and run: python -m app models pull {model.name}",
        ) from error
    _check_used(providers, inference.get_providers())
    inference_alone = inference_exact = None
    if model.lean and cap_mb >= model.exact_mb:
        inference_exact = cache(lambda: _exact_session(model, options, _with_options(providers, threads)))
    if model.light and threads_alone > threads and tuple(providers) == (CPU,):
        inference_alone = cache(
            lambda: ort.InferenceSession(str(path), _session_options(threads_alone), providers=[CPU])
        )
    names = inference.get_inputs()[0].name, inference.get_outputs()[0].name
    return Session(model, inference, *names, inference_alone, inference_exact)


def _exact_session(model: ModelSpec, options: ort.SessionOptions, providers: Sequence[Any]) -> ort.InferenceSession:
    """Load the graph of a model as exported; raise ModelUnavailable if it is missing or damaged."""
    path = weights.require(model)
    weights.check(model, path)  # not at the start: most engines never need this graph
    return ort.InferenceSession(str(path), options, providers=providers)


def _prepare(providers: Sequence[str]) -> None:
    """Raise ModelUnavailable for a provider that is not installed; load CUDA from NVIDIA's packages, if they exist."""
    if reason := not_installed(providers, ort.get_available_providers()):
        raise ModelUnavailable(f"EXECUTION_PROVIDERS names {reason}.", solution=PROVIDER_ADVICE)
    if CUDA in providers:
        ort.preload_dlls()


def _with_options(providers: Sequence[str], threads: int) -> list[str | tuple[str, dict[str, str]]]:
    """Return providers for a session; OpenVINO would use all cores by default."""
    return [(name, {"num_of_threads": str(threads)}) if name == OPENVINO else name for name in providers]


def _check_used(wanted: Sequence[str], used: Sequence[str]) -> None:
    """Raise ModelUnavailable unless all wanted providers are in use: onnxruntime continues on the CPU by default."""
    if failed := [name for name in wanted if name not in used]:
        raise ModelUnavailable(
            f"{', '.join(failed)} could not be started: its device, driver or libraries are missing.",
            details="onnxruntime's message is in the log",
            solution=PROVIDER_ADVICE,
        )


def _session_options(threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    share_arena(options)
    # Spinning threads would take the cores that decoding and other engines need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


class SessionCache:
    """Cache of the sessions of all light models, or of one heavy model; failed loads are cached for RETRY_SECONDS."""

    def __init__(
        self,
        threads: int,
        load: Callable[[ModelSpec, int], Session] = load_session,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._threads = threads
        self._load = load
        self._clock = clock
        self.loads = 0
        self._sessions: dict[str, Session] = {}
        self._failures: dict[str, tuple[float, ModelUnavailable]] = {}

    def get(self, name: str) -> Session:
        """Return the session of a model; load it if necessary, in place of the others unless all are light.

        Raise ModelUnavailable when the weights are missing, or the load failed now or in the last RETRY_SECONDS.
        """
        if name in self._sessions:
            return self._sessions[name]
        failed_at, failure = self._failures.get(name, (0.0, None))
        if failure is not None and self._clock() - failed_at < RETRY_SECONDS:
            raise failure.with_traceback(None)
        weights.require(REGISTRY[name])
        if any(affinity(loaded) != affinity(name) for loaded in self._sessions):
            self._sessions.clear()  # freed first: two models may not fit into memory
            shrink_arena()
        try:
            session = self._sessions[name] = self._load(REGISTRY[name], self._threads)
        except ModelUnavailable as error:
            self._failures[name] = (self._clock(), error)
            raise
        self._failures.pop(name, None)
        self.loads += 1
        return session
