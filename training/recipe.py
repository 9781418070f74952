"""Settings of a training."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Recipe"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """Settings that determine a training; a run resumes with the same ones only.

    `sizes` are the sides in px of the samples, each for an equal share of the steps. `rate` is the decoder's learning
    rate; the encoder's is a sixth. `frozen` is the number of encoder blocks that stay as they are.
    """

    steps: int = 8000
    batch: int = 16
    rate: float = 1.5e-3
    sizes: tuple[int, ...] = (224, 256, 256, 320)
    frozen: int = 3
    seed: int = 1
    widths: tuple[int, int, int, int] = (160, 128, 64, 16)
    context: int = 96

    def side(self, step: int) -> int:
        """Return the side of the samples of a step."""
        return self.sizes[min(len(self.sizes) - 1, step * len(self.sizes) // self.steps)]
