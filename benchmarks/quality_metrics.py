"""Errors of masks and cut-outs against the truth; alpha is float32 in 0..1, colours are float32 in 0..255."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["colour_error", "gradient_error", "iou", "mean_error", "sad"]

Plane = NDArray[np.float32]

# Scale of the derivatives of Rhemann et al., px.
GRADIENT_SIGMA = 1.4


def iou(alpha: Plane, truth: Plane) -> float:
    """Return intersection over union of the subject, which is where alpha is at least a half; 1 for two empty ones."""
    found, true = alpha >= 0.5, truth >= 0.5
    union = np.count_nonzero(found | true)
    return np.count_nonzero(found & true) / union if union else 1.0


def mean_error(alpha: Plane, truth: Plane) -> float:
    """Return the mean absolute error of alpha."""
    return float(np.abs(alpha - truth).mean())


def sad(alpha: Plane, truth: Plane) -> float:
    """Return the sum of absolute differences of alpha, in thousands."""
    return float(np.abs(alpha - truth).sum()) / 1000


def gradient_error(alpha: Plane, truth: Plane) -> float:
    """Return the gradient error, in thousands: Rhemann et al., A Perceptually Motivated Online Benchmark, CVPR 2009.

    It is the sum of the squared differences of the gradients' magnitudes, by derivatives of a Gaussian.
    """
    return float(((_gradient(alpha) - _gradient(truth)) ** 2).sum()) / 1000


def _gradient(alpha: Plane) -> Plane:
    radius = round(3 * GRADIENT_SIGMA)
    x = np.arange(-radius, radius + 1)
    smooth = np.exp(-(x**2) / (2 * GRADIENT_SIGMA**2))
    derivative = -x * smooth
    # Rhemann's filter has unit norm in two dimensions.
    smooth, derivative = smooth / np.linalg.norm(smooth), derivative / np.linalg.norm(derivative)
    across = cv2.sepFilter2D(alpha, cv2.CV_32F, derivative, smooth, borderType=cv2.BORDER_REPLICATE)
    down = cv2.sepFilter2D(alpha, cv2.CV_32F, smooth, derivative, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(np.hypot(across, down), np.float32)


def colour_error(colours: Plane, alpha: Plane, true_colours: Plane, truth: Plane) -> float:
    """Return the mean absolute error of the colours, 0..255, where the true alpha is fractional.

    Each pixel's weight is the true alpha. A pixel that is missing from the cut-out has no colour and is left out;
    0 if there is no pixel.
    """
    weight = np.where((truth > 0.02) & (truth < 0.98) & (alpha > 0.02), truth, 0)
    total = float(weight.sum())
    return float((np.abs(colours - true_colours).mean(axis=2) * weight).sum()) / total if total else 0.0
