"""Quality of masks on validation photos."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from app.engine.models import REGISTRY
from app.engine.session import Session
from training.dataset import NamedSet
from training.labels import Teacher, square
from training.network import Network

__all__ = ["Score", "as_session", "evaluate"]

BAD = 0.5


@dataclass(frozen=True, slots=True)
class Score:
    """Mean intersection over union, mean absolute error, and number of photos with an IoU under 0.5, of a set.

    `ious` has the IoU of each photo, in their order.
    """

    iou: float
    mae: float
    bad: int
    ious: tuple[float, ...]


def evaluate(predict: Teacher, one: NamedSet, check: Callable[[], None]) -> Score:
    """Return a model's score on the validation photos of a set, compared at the size of the network's input."""
    ious, errors = [], []
    for photo in one.validation:
        check()
        mask = photo.open_mask()
        truth = mask >= 128
        target = truth.astype(np.float32) if one.facts.threshold else mask / np.float32(255)
        found = square(predict(photo.open_image()))
        ious.append(_iou(found >= 0.5, truth))
        errors.append(float(np.abs(found - target).mean()))
    return Score(_mean(ious), _mean(errors), sum(iou < BAD for iou in ious), tuple(ious))


def _iou(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    union = int((one | other).sum())
    return int((one & other).sum()) / union if union else 1.0


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


class _Inference:
    """A network behind the interface of an onnxruntime session."""

    def __init__(self, network: Network) -> None:
        self._network = network

    def run(self, _outputs: list[str], inputs: dict[str, NDArray[np.float32]]) -> list[NDArray[Any]]:
        device = next(self._network.parameters()).device
        with torch.no_grad():
            return [self._network(torch.from_numpy(inputs["input"]).to(device)).cpu().numpy()]


def as_session(network: Network) -> Session:
    """Return a network, in evaluation mode, as a session of the service: with the same preprocessing."""
    return Session(REGISTRY["lite"], _Inference(network.eval()), "input", "mask")
