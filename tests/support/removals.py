"""Requests and results for the tests of the cache."""

from __future__ import annotations

from app.removal import Box, RemovalOptions, RemovalRequest, RemovalResult

OPTIONS = RemovalOptions("lite", 2048)
REQUEST = RemovalRequest(b"image", OPTIONS, b"background", "id-1")


def result(size: int = 100, confidence: float = 0.9) -> RemovalResult:
    """Return a result with an image of `size` bytes."""
    return RemovalResult(bytes(size), "image/png", 3, 2, Box(1, 2, 3, 4), confidence, "lite", {}, {}, (30, 20))
