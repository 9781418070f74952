"""Loss: cross entropy with more weight at edges, and soft intersection over union, at four sizes."""

from __future__ import annotations

import torch
from torch.nn import functional

__all__ = ["mask_loss"]

EDGE_WEIGHT = 3.0
SIDE_WEIGHT = 0.3


def mask_loss(logits: list[torch.Tensor], target: torch.Tensor) -> torch.Tensor:
    """Return the loss of the logits of all sizes, (N, 1, S, S) the first, for a soft target of the largest size."""
    loss = _one_size(logits[0], target, _edges(target))
    for side in logits[1:]:
        small = functional.avg_pool2d(target, target.shape[2] // side.shape[2])
        loss = loss + SIDE_WEIGHT * _one_size(side, small, torch.ones_like(small))
    return loss


def _one_size(logits: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    entropy = functional.binary_cross_entropy_with_logits(logits, target, weight=weight)
    probability = torch.sigmoid(logits)
    intersection = (probability * target).sum((2, 3))
    union = (probability + target).sum((2, 3)) - intersection
    return entropy + (1 - (intersection + 1) / (union + 1)).mean()


def _edges(target: torch.Tensor) -> torch.Tensor:
    """Return weights of 1, up to 1 + EDGE_WEIGHT near the edges of the target."""
    quarter = functional.avg_pool2d(target, 4)
    edges = (functional.avg_pool2d(quarter, 7, 1, 3, count_include_pad=False) - quarter).abs()
    large = functional.interpolate(edges, size=target.shape[2:], mode="bilinear", align_corners=False)
    return 1 + EDGE_WEIGHT * large
