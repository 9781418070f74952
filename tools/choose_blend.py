"""Choose the threshold and the weights of the model `auto`: `python -m tools.choose_blend FOLDER ...`.

Each folder is one set of photos (NAME.jpg), none of which was used in training. Masks (NAME.png, grey, 255 = subject)
are optional: a set without them counts only for the share of photos that go on to the second model. The threshold is
the highest at which at most a third of each set goes on. Exponent and weight give the highest mean of the sets' IoU
without making a set worse than the first model alone. The contrast is not chosen here: it has no effect on the IoU.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.engine.cascade import AUTO_BLEND, Blend
from app.engine.models import AUTO, REGISTRY
from app.engine.session import load_session
from app.imaging.subject import confidence_of, stretch

__all__ = ["Sample", "choose", "mean_iou", "read_set", "share"]

MAX_SHARE = 1 / 3
THRESHOLDS = [round(0.8 + 0.01 * step, 2) for step in range(18)]
EXPONENTS = (0, 1, 2, 3, 6, 9)
WEIGHTS = [round(0.3 + 0.1 * step, 1) for step in range(8)]

Mask = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Sample:
    """Probabilities of both models for one photo, and its mask if there is one."""

    first: Mask
    second: Mask
    truth: NDArray[np.bool_] | None = None

    def predicted(self, blend: Blend | None) -> Mask:
        """Return the mask of the first model, or with a blend that of the cascade."""
        if blend is None or confidence_of(self.first) >= blend.threshold:
            return self.first
        return blend.sharpen(blend.combine(self.first, self.second))


def read_set(folder: Path) -> list[Sample]:
    """Run both models on the photos of a folder."""
    first, second = (load_session(model, threads=1) for model in REGISTRY[AUTO].parts)
    samples = []
    for path in sorted(folder.glob("*.jpg")):
        image = Image.open(path).convert("RGB")
        raw = first.predict(image)
        samples.append(Sample(raw, second.predict(image), _truth(path.with_suffix(".png"), raw.shape[0])))
    return samples


def _truth(path: Path, side: int) -> NDArray[np.bool_] | None:
    """Return the mask on the models' grid; None without one, or without a subject in it."""
    if not path.is_file():
        return None
    mask = np.asarray(Image.open(path).convert("L").resize((side, side), Image.Resampling.BILINEAR)) >= 128
    return mask if mask.mean() > 0.01 else None


def share(samples: Sequence[Sample], threshold: float) -> float:
    """Return the share of photos whose confidence is under the threshold."""
    return float(np.mean([confidence_of(sample.first) < threshold for sample in samples]))


def iou(mask: Mask, truth: NDArray[np.bool_]) -> float:
    """Return intersection over union of the subject's cells."""
    found = mask >= 0.5
    return float((found & truth).sum() / max(1, (found | truth).sum()))


def mean_iou(samples: Sequence[Sample], blend: Blend | None) -> float:
    """Return the mean IoU of the photos with masks, by the cascade or by the first model alone."""
    return float(
        np.mean([iou(sample.predicted(blend), sample.truth) for sample in samples if sample.truth is not None])
    )


def mean_error(samples: Sequence[Sample], blend: Blend | None) -> float:
    """Return the mean absolute error of the photos with masks."""
    return float(
        np.mean([abs(sample.predicted(blend) - sample.truth).mean() for sample in samples if sample.truth is not None])
    )


def choose(sets: Mapping[str, Sequence[Sample]]) -> Blend:
    """Return the blend by the rules above; raise ValueError if no threshold or no weights satisfy them."""
    threshold = max(value for value in THRESHOLDS if all(share(each, value) <= MAX_SHARE for each in sets.values()))
    masked = [each for each in sets.values() if any(sample.truth is not None for sample in each)]
    alone = [mean_iou(each, None) for each in masked]
    found = []
    for exponent, weight in product(EXPONENTS, WEIGHTS):
        blend = replace(AUTO_BLEND, threshold=threshold, exponent=exponent, second_weight=weight)
        values = [mean_iou(each, blend) for each in masked]
        if all(value >= base for value, base in zip(values, alone, strict=True)):
            found.append((float(np.mean(values)), -exponent, -weight, blend))
    return max(found)[-1]


def _row(name: str, samples: Sequence[Sample], blend: Blend) -> str:
    text = f"{name}: {len(samples)} photos, {share(samples, blend.threshold):.0%} go on"
    if any(sample.truth is not None for sample in samples):
        second = mean_iou([replace(sample, first=stretch(sample.second)) for sample in samples], None)
        text += f"; IoU first {mean_iou(samples, None):.3f}, second {second:.3f}, both {mean_iou(samples, blend):.3f}"
        text += f"; MAE first {mean_error(samples, None):.4f}, both {mean_error(samples, blend):.4f}"
    return text


def main(*folders: str) -> None:
    """Print the chosen blend and the one in use, with the figures of each set."""
    sets = {Path(folder).name: read_set(Path(folder)) for folder in folders}
    for title, blend in (("chosen", choose(sets)), ("in use", AUTO_BLEND)):
        click.echo(f"{title}: {blend}")
        for name, samples in sets.items():
            click.echo(f"  {_row(name, samples, blend)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
