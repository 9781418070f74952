"""Work that is shared by the results of one photo: its decoded pixels, and the masks of the models."""

from __future__ import annotations

import gc
from collections.abc import Callable

from PIL import Image

from app.engine.cascade import Prediction
from app.engine.container import MEGABYTE
from app.engine.plans import Plan
from app.imaging.decode import Photo
from app.removal import Lengths, RemovalOptions

__all__ = ["Predictor", "SharedWork"]

Predictor = Callable[[Image.Image], Prediction]

# Bytes of heap that earlier results of a photo may leave in pieces; the measured peaks of one photo differ by 19 MB.
FRAGMENTED = 24 * MEGABYTE


class SharedWork:
    """The photo as it was decoded last, and the first prediction for each model and region."""

    def __init__(self) -> None:
        self._photo: Photo | None = None
        self._sides = (0, 0)
        self._predictions: dict[tuple[str, bool, Lengths | None], Prediction] = {}

    @property
    def held_bytes(self) -> int:
        """Return the bytes that the results so far have left: their masks, and free heap between other memory."""
        masks = sum(each.raw.nbytes + each.mask.nbytes for each in self._predictions.values())
        return masks + FRAGMENTED if masks else 0

    def photo(self, plan: Plan) -> Photo | None:
        """Return the photo if decoding for this plan would give the same pixels; else free it."""
        if self._photo is None:
            return None
        longest = max(self._photo.full_size)
        if [min(side, longest) for side in self._sides] == [min(side, longest) for side in _sides(plan)]:
            return self._photo
        self.free()
        return None

    def keep(self, photo: Photo, plan: Plan) -> None:
        """Keep a photo that was decoded for this plan."""
        self._photo, self._sides = photo, _sides(plan)

    def free(self) -> None:
        """Free the photo, which may be in a reference cycle."""
        self._photo = None
        gc.collect()

    def predictor(self, options: RemovalOptions, predict: Predictor) -> Predictor:
        """Return a function that predicts once for each model, kind of mask and region."""
        key = options.model, options.reference_mask, options.canvas.roi if options.canvas else None

        def first(image: Image.Image) -> Prediction:
            if key not in self._predictions:
                self._predictions[key] = predict(image)
            return self._predictions[key]

        return first


def _sides(plan: Plan) -> tuple[int, int]:
    return plan.side, plan.min_side
