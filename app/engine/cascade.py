"""Prediction of the mask: by one model, or by a cascade, whose second model is used where the first is unsure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.engine.session import Session
from app.imaging.reference import full_range
from app.imaging.subject import confidence_of, stretch

__all__ = ["AUTO_BLEND", "Blend", "Prediction", "predict"]

Mask = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Blend:
    """When the second model is used, and its weight.

    Photos with a confidence of the first model under `threshold` go on. A mask's weight is the model's confidence to
    the power of `exponent`, for the second model times `second_weight`. `contrast` is that of the blended mask.
    """

    threshold: float
    exponent: float
    second_weight: float
    contrast: float = 1

    def combine(self, first: Mask, second: Mask) -> Mask:
        """Return the mean of two masks by weight; the second is stretched as rembg does."""
        weight = confidence_of(first) ** self.exponent
        other = self.second_weight * confidence_of(second) ** self.exponent
        share = np.float32(other / max(weight + other, 1e-6))
        return first + share * (stretch(second) - first)

    def sharpen(self, blended: Mask) -> Mask:
        """Return the mask with more contrast around 0.5, so that a subject of one model only is opaque."""
        inside, outside = blended**self.contrast, (1 - blended) ** self.contrast
        sharpened: Mask = (inside / (inside + outside)).astype(np.float32)
        return sharpened


# Chosen by `python -m tools.choose_blend` on validation photos: docs/decisions/cascade.md.
AUTO_BLEND = Blend(threshold=0.9, exponent=9, second_weight=0.3, contrast=2)


@dataclass(frozen=True, slots=True)
class Prediction:
    """Mask of a photo on the model's grid, and the models that made it.

    `raw` holds probabilities, `mask` the same after rembg's stretch or the cascade's contrast, where they apply.
    `under_load` means that the photo would have gone on to the second model.
    """

    raw: Mask
    mask: Mask
    confidence: float
    model: str
    under_load: bool = False


def predict(
    sessions: Sequence[Session],
    image: Image.Image,
    stage: Callable[[str], AbstractContextManager[None]],
    *,
    alone: bool = False,
    fast: bool = False,
    exact: bool = False,
) -> Prediction:
    """Return the mask of an RGB image by one session, or by the two of a cascade; see `Pipeline.run`.

    `stage` times a block under a name. `exact` means a mask by the first session that is rembg's to the bit.
    """
    first = sessions[0]
    with stage("infer"):
        raw = first.predict(image, alone=alone, exact=exact)
        confidence = confidence_of(raw)
    if exact:
        return Prediction(raw, full_range(raw), confidence, first.model.name)
    sure = len(sessions) == 1 or confidence >= AUTO_BLEND.threshold
    if sure or fast:
        mask = stretch(raw) if first.model.stretch else raw
        return Prediction(raw, mask, confidence, first.model.name, under_load=not sure)
    with stage("second_infer"):
        blended = AUTO_BLEND.combine(raw, sessions[1].predict(image, alone=alone))
    models = "+".join(session.model.name for session in sessions)
    return Prediction(blended, AUTO_BLEND.sharpen(blended), confidence_of(blended), models)
