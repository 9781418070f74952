"""Wire form of requests and results: JSON headers and raw blobs; standard library only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from app.engine.providers import CPU
from app.removal import Blur, Box, Canvas, Gradient, Length, RemovalOptions, RemovalRequest, RemovalResult, Trimap

__all__ = [
    "EXIT_MEMORY",
    "EXIT_TASKS",
    "RECYCLED",
    "EngineConfig",
    "request_from_wire",
    "request_header",
    "result_from_wire",
    "result_header",
]

# Exit statuses of an engine at its limit of tasks or memory: it is replaced without an error.
EXIT_TASKS, EXIT_MEMORY = 3, 4
RECYCLED = (EXIT_TASKS, EXIT_MEMORY)


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Settings of an engine process; numbers of pixels are width times height.

    `threads` is the number of inference threads while other engines are busy, `threads_alone` while none is (light
    models only), 0 for the same number. With `fast_under_load` a cascade uses its first model alone under load.
    `memory_mb` caps the resident memory. An engine above `memory_warn_mb` between two photos, or after `max_tasks`
    photos, ends and is replaced. `providers` are execution providers, the preferred first. `faults` enables injected
    faults for tests.
    """

    model: str
    threads: int
    max_pixels: int
    max_pixels_hard: int
    threads_alone: int = 0
    fast_under_load: bool = True
    memory_mb: int = 1024
    memory_warn_mb: int = 820
    max_tasks: int = 1000
    rembg_home: str = ""
    log_level: str = "INFO"
    log_format: str = "text"
    log_file: str = ""
    faults: bool = False
    providers: Sequence[str] = (CPU,)


def request_header(request: RemovalRequest) -> dict[str, Any]:
    """Return a request without its images, for JSON."""
    more_options = [asdict(options) for options in request.more_options]
    return {
        "op": "remove",
        "options": asdict(request.options),
        "more_options": more_options,
        "request_id": request.request_id,
    }


def request_from_wire(header: dict[str, Any], blobs: list[bytes]) -> RemovalRequest:
    """Rebuild a request from its header and its two blobs."""
    image, background_image = blobs
    more_options = tuple(map(_options, header["more_options"]))
    return RemovalRequest(image, _options(header["options"]), background_image, header["request_id"], more_options)


def result_header(result: RemovalResult) -> dict[str, Any]:
    """Return a result without its body, for JSON."""
    header = asdict(result)
    del header["body"]
    return header


def result_from_wire(header: dict[str, Any], blobs: list[bytes]) -> RemovalResult:
    """Rebuild a result from its header and its one blob."""
    (body,) = blobs
    sizes = {name: tuple(header[name]) for name in ("input_size", "max_size")}
    return RemovalResult(body=body, **header | sizes | {"foreground": Box(**header["foreground"])})


def _options(data: dict[str, Any]) -> RemovalOptions:
    background, backdrop, canvas = data["background"], data["backdrop"], data["canvas"]
    return RemovalOptions(
        **data
        | {
            "background": tuple(background) if background is not None else None,
            "backdrop": _backdrop(backdrop) if backdrop is not None else None,
            "crop_margin": tuple(Length(**side) for side in data["crop_margin"]),
            "canvas": _canvas(canvas) if canvas is not None else None,
            "trimap": Trimap(**data["trimap"]),
        }
    )


def _backdrop(data: dict[str, Any]) -> Blur | Gradient:
    if "strength" in data:
        return Blur(**data)
    return Gradient(tuple(data["start"]), tuple(data["end"]), data["angle"])


def _canvas(data: dict[str, Any]) -> Canvas:
    size, roi, position = data["size"], data["roi"], data["position"]
    return Canvas(
        data["max_pixels"],
        tuple(Length(**edge) for edge in roi) if roi is not None else None,  # type: ignore[arg-type]
        data["scale"],
        tuple(position) if position is not None else None,
        tuple(size) if size is not None else None,
    )
