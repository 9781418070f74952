"""Comparison of the new model with today's and with the teacher, on each validation set and in time."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from app.engine.session import Session
from training.dataset import NamedSet
from training.evaluation import Score, evaluate
from training.photos import SIDE

__all__ = ["NEW", "TODAY", "Comparison", "compare"]

log = logging.getLogger(__name__)

TODAY, NEW = "today", "new"
ROUNDS = 30
# A new model may take this much longer: less cannot be measured on a machine that does other work.
MAX_SLOWDOWN = 1.05


@dataclass(frozen=True, slots=True)
class Comparison:
    """Scores by model and validation set, and milliseconds of today's and the new model on one thread."""

    scores: Mapping[str, Mapping[str, Score]]
    milliseconds: Mapping[str, float]

    def objections(self) -> list[str]:
        """Return why the new model should not replace today's: better on every set and no slower is required."""
        today, new = self.scores[TODAY], self.scores[NEW]
        found = [
            f"IoU on {name} is {new[name].iou:.4f}, today's {today[name].iou:.4f}"
            for name in today
            if new[name].iou <= today[name].iou
        ]
        if self.milliseconds[NEW] > MAX_SLOWDOWN * self.milliseconds[TODAY]:
            found.append(f"takes {self.milliseconds[NEW]:.1f} ms, today's {self.milliseconds[TODAY]:.1f} ms")
        return found if today else ["no validation set"]

    def table(self) -> str:
        """Return the scores as a Markdown table."""
        names = list(self.scores)
        lines = [
            f"| set | {' | '.join(f'{name}: IoU, MAE, under 0.5' for name in names)} |",
            "|---" * len(names) + "|---|",
        ]
        for one in self.scores[TODAY]:
            cells = (self.scores[name][one] for name in names)
            lines.append(f"| {one} | {' | '.join(f'{s.iou:.4f}, {s.mae:.4f}, {s.bad}' for s in cells)} |")
        return "\n".join(lines)


def compare(models: Mapping[str, Session], sets: Sequence[NamedSet], check: Callable[[], None]) -> Comparison:
    """Evaluate all models; `models` has TODAY and NEW, and others that are only shown."""
    scores: dict[str, dict[str, Score]] = {}
    for name, model in models.items():
        scores[name] = {one.name: evaluate(model.predict, one, check) for one in sets}
        log.info("Evaluated: %s", name)
    return Comparison(scores, _milliseconds({name: models[name] for name in (TODAY, NEW)}))


def _milliseconds(models: Mapping[str, Session]) -> dict[str, float]:
    """Return the shortest time of each model; they take turns, so that other work on the machine affects both."""
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    inputs = models[NEW].preprocess(Image.fromarray(noise))
    shortest = dict.fromkeys(models, float("inf"))
    for _ in range(ROUNDS):
        for name, model in models.items():
            began = time.perf_counter()
            model.inference.run([model.output_name], {model.input_name: inputs})
            shortest[name] = min(shortest[name], 1000 * (time.perf_counter() - began))
    return shortest
