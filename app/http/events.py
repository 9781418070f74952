"""Log events of an image, with names that operators can search for.

Events: image.received, image.resized, image.succeeded, image.refused (client error), image.failed (server error),
image.fallback, image.not_saved, image.abandoned. Engines log memory.warning and engine.recycled themselves.
"""

from __future__ import annotations

import logging

from app.errors import ServiceError
from app.http import request_log
from app.removal import RemovalResult

__all__ = ["abandoned", "failed", "fallback", "not_saved", "received", "succeeded"]

log = logging.getLogger("app.images")


def received(size: int) -> None:
    """Log that an image of `size` bytes has been read."""
    request_log.add_fields(bytes_in=size)
    log.info("image.received bytes=%d", size)


def succeeded(result: RemovalResult, received_bytes: int) -> None:
    """Log a result, and its size where it is smaller than the photo."""
    width, height = result.input_size
    request_log.add_fields(pixels=width * height, model=result.model, stages=result.stages_ms)
    if (width, height) != (result.width, result.height):
        log.info("image.resized from=%dx%d to=%dx%d", width, height, result.width, result.height)
    log.info(
        "image.succeeded model=%s size=%dx%d bytes_in=%d bytes_out=%d peak_stage_mb=%d %s",
        result.model,
        result.width,
        result.height,
        received_bytes,
        len(result.body),
        max(result.stages_mb.values(), default=0),
        " ".join(f"{stage}_ms={ms:.0f}" for stage, ms in result.stages_ms.items()),
    )


def failed(error: ServiceError) -> None:
    """Log that an image was refused or failed, with the reason."""
    if error.status < 500:
        log.info("image.refused code=%s status=%d details=%r", error.code, error.status, error.details)
    else:
        log.warning("image.failed code=%s status=%d details=%r", error.code, error.status, error.details)


def fallback(error: ServiceError) -> None:
    """Log that the answer is the original image."""
    log.warning("image.fallback code=%s details=%r", error.code, error.details)


def not_saved(error: OSError) -> None:
    """Log that a result could not be saved in OUTPUT_DIR."""
    log.error("image.not_saved error=%s", error.strerror)


def abandoned() -> None:
    """Log that the client hung up before its photo reached an engine."""
    log.info("image.abandoned")
