"""Wire form of requests and results."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from app.engine.messages import request_from_wire, request_header, result_from_wire, result_header
from app.removal import Blur, Box, Canvas, Gradient, Length, RemovalOptions, RemovalRequest, RemovalResult

OPTIONS = RemovalOptions(
    model="lite",
    longest_side=2048,
    format="WEBP",
    background=(1, 2, 3, 4),
    crop=True,
    crop_margin=(Length(1), Length(2, "%"), Length(3), Length(4.5, "%")),
    max_width=300,
    canvas=Canvas(250_000, (Length(0), Length(0), Length(50, "%"), Length(10)), 0.5, (0.5, 1.0), (300, 200)),
)


@pytest.mark.parametrize("backdrop", [None, Blur(20), Gradient((1, 2, 3, 4), (5, 6, 7, 8), 90)])
def test_a_request_survives_the_wire(backdrop: Blur | Gradient | None) -> None:
    request = RemovalRequest(b"image", replace(OPTIONS, backdrop=backdrop), b"background", "id-1")
    header = json.loads(json.dumps(request_header(request)))
    assert request_from_wire(header, [b"image", b"background"]) == request


def test_a_request_of_several_results_survives_the_wire() -> None:
    request = RemovalRequest(b"", OPTIONS, more_options=(replace(OPTIONS, canvas=None), OPTIONS))
    assert request_from_wire(json.loads(json.dumps(request_header(request))), [b"", b""]) == request


def test_a_result_survives_the_wire() -> None:
    result = RemovalResult(b"body", "image/png", 3, 2, Box(1, 2, 3, 4), 0.5, "lite", {"infer": 1.5}, max_size=(5, 4))
    assert result_from_wire(json.loads(json.dumps(result_header(result))), [b"body"]) == result


def test_images_are_not_in_repr() -> None:
    assert "secret" not in repr(RemovalRequest(b"secret", OPTIONS, b"secret"))
