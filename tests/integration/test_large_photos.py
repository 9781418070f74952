"""Large photos on a real service: within the caps of a small machine, and matting beyond the deadline."""

from __future__ import annotations

from collections.abc import Callable

import psutil
import pytest
from PIL import Image

from tests.support.photos import encoded, opened, photo
from tests.support.service import Answer, Service
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration


def large(width: int, height: int) -> bytes:
    return encoded(photo("cat").resize((width, height), Image.Resampling.BICUBIC), "JPEG", quality=90)


def test_a_large_photo_on_a_small_machine(start: Callable[..., Service]) -> None:
    service = start(MEMORY_PROFILE="low", MAX_DIMENSION=2048, ENGINE_MEMORY_MB=320)
    answer = matted(service, large(3600, 2400), ae="80")
    assert answer.status == 200
    assert 0 < float(answer.headers["X-Matting-Scale"]) < 1
    assert opened(answer.body).size == (2048, 1365)
    peaks = [engine.memory_info().rss for engine in service.engines() if engine.is_running()]
    assert peaks
    assert max(peaks) < 320 << 20


def test_the_memory_of_an_inference_is_given_back_for_the_cut_out(start: Callable[..., Service]) -> None:
    service = start(MEMORY_PROFILE="low")
    (engine,) = service.engines()
    answer = service.request("/remove-background?model=u2netp&full_size=true", large(4240, 2832))
    assert answer.status == 200
    assert opened(answer.body).width > 3000
    assert service.engines() == [engine]


def test_the_deadline_ends_it(start: Callable[..., Service]) -> None:
    service = start(MODEL_NAME="lite", REQUEST_TIMEOUT=2, MAX_DIMENSION=4000, ENGINE_PROCESSES=1)
    before = service.engines()
    image = large(4000, 2667)
    answers = (matted(service, image, af="250", ab="2", ae="255") for _ in range(20))
    answer = next(answer for answer in answers if answer.status != 408)  # 408: the upload was stalled
    assert (answer.status, answer.json["code"]) == (504, "DEADLINE_EXCEEDED")
    wait_until(lambda: not any(map(psutil.Process.is_running, before)))
    wait_until(service.ready)
    wait_until(lambda: service.request("/remove-background", large(451, 300)).status == 200)


def matted(service: Service, image: bytes, **fields: str) -> Answer:
    """Post a form to rembg's dialect, which has the thresholds of the trimap."""
    parts = [f'Content-Disposition: form-data; name="{name}"\r\n\r\n{text}'.encode() for name, text in fields.items()]
    parts.append(b'Content-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n' + image)
    body = b"".join(b"--between\r\n%s\r\n" % part for part in parts) + b"--between--"
    form = {"Content-Type": "multipart/form-data; boundary=between"}
    return service.request("/api/remove?a=true", body, headers=form)
