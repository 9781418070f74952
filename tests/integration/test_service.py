"""The whole service: a real gunicorn, real engines, real photos, and kills of its processes."""

from __future__ import annotations

import http.client
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from tests.support.photos import encoded, jpeg, opened, photo
from tests.support.service import Post, Service, free_port, gone, gunicorn
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

URL = "/remove-background"
Start = Callable[..., Service]


@pytest.fixture(scope="module")
def service(start: Start) -> Service:
    """One engine, shared by tests that leave it healthy."""
    return start(ENGINE_PROCESSES=1, ENGINE_FAULTS=1)


@pytest.fixture(autouse=True)
def healthy_afterwards(request: pytest.FixtureRequest) -> object:
    """Check after each test that the shared service is healthy and processes the next photo."""
    yield
    if "service" in request.fixturenames:
        service = request.getfixturevalue("service")
        wait_until(service.healthy)
        assert service.request(URL, jpeg()).status == 200
        assert len(service.engines()) == 1


def slow_photo() -> bytes:
    """Return a photo that takes an engine seconds: a noisy subject, for PNG with maximum compression."""
    large = np.asarray(photo("cat").resize((2048, 1362)), np.int16)
    grain = np.random.default_rng(1).integers(-20, 20, large.shape, np.int16)
    return encoded(Image.fromarray((large + grain).clip(0, 255).astype(np.uint8)), "JPEG", quality=80)


SLOW = f"{URL}?preset=archival&background=white"


def engine_at_work(service: Service) -> psutil.Process:
    """Wait until the only engine is busy, and return it."""
    (engine,) = service.engines()
    before = engine.cpu_times().user
    wait_until(lambda: engine.cpu_times().user > before + 0.3)
    return engine


def test_a_photo_in_its_subject_out(service: Service) -> None:
    answer = service.request(URL, jpeg())
    image = opened(answer.body)
    assert (answer.status, image.mode, image.size) == (200, "RGBA", photo("astronaut").size)
    assert image.getchannel("A").getextrema() == (0, 255)


def test_a_large_photo_is_answered_at_the_working_size(service: Service) -> None:
    large = encoded(photo("coffee").resize((6000, 4000)), "JPEG", quality=80)
    assert opened(service.request(URL, large).body).size == (2048, 1365)


def test_a_chunked_body_is_read(service: Service) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    data = jpeg()
    chunks = (data[at : at + 10_000] for at in range(0, len(data), 10_000))
    connection.request("POST", URL, chunks, {"Content-Type": "image/jpeg"}, encode_chunked=True)
    assert connection.getresponse().status == 200
    connection.close()


def test_many_photos_on_one_connection(service: Service) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    for _ in range(5):
        connection.request("POST", URL, jpeg("coffee"))
        answer = connection.getresponse()
        assert (answer.status, len(answer.read()) > 1000) == (200, True)
    connection.close()


@pytest.mark.parametrize("kind", ["announced", "chunked"])
def test_a_body_over_the_limit_is_a_json_error(kind: str, start: Start) -> None:
    small = start(MAX_CONTENT_LENGTH=20_000, ENGINE_PROCESSES=1)
    connection = http.client.HTTPConnection("127.0.0.1", small.port, timeout=60)
    body = jpeg()[:25_000]
    connection.request("POST", URL, body if kind == "announced" else iter([body]), encode_chunked=kind == "chunked")
    answer = connection.getresponse()
    assert (answer.status, b"FILE_TOO_LARGE" in answer.read()) == (413, True)
    connection.close()


def test_the_request_of_a_killed_engine_is_answered_by_the_next_engine(service: Service) -> None:
    post = Post(service, SLOW, slow_photo())
    engine_at_work(service).kill()
    assert post.result().status == 200
    wait_until(service.healthy)


def test_an_idle_engine_that_is_killed_affects_no_request(service: Service) -> None:
    for _ in range(3):
        (engine,) = service.engines()
        engine.kill()
        assert service.request(URL, jpeg()).status == 200
        wait_until(service.healthy)


def test_an_engine_that_hangs_is_replaced_at_the_deadline(start: Start) -> None:
    service = start(ENGINE_PROCESSES=1, REQUEST_TIMEOUT=4)
    (engine,) = service.engines()
    engine.suspend()
    answer = service.request(URL, jpeg())
    assert (answer.status, answer.json["code"]) == (504, "DEADLINE_EXCEEDED")
    assert gone([engine])
    wait_until(service.healthy)
    wait_until(lambda: service.request(URL, jpeg()).status == 200)  # a busy machine may need several attempts


def test_a_full_queue_refuses_at_once_and_health_still_answers(start: Start) -> None:
    service = start(ENGINE_PROCESSES=1, QUEUE_SIZE=1)
    (engine,) = service.engines()
    engine.suspend()
    running, waiting = Post(service, URL, jpeg()), Post(service, URL, jpeg())
    wait_until(lambda: service.received() == 2)
    refused = service.request(URL, jpeg())
    assert (refused.status, refused.json["code"]) == (429, "QUEUE_FULL")
    assert service.request("/health/live").status == 200
    engine.resume()
    assert [running.result().status, waiting.result().status] == [200, 200]


@pytest.mark.parametrize("at_work", [False, True], ids=["idle", "at work"])
def test_a_killed_web_worker_leaves_no_engine_and_is_replaced(at_work: bool, service: Service) -> None:
    engines = service.engines()
    worker = service.worker()
    if at_work:
        post = Post(service, URL, jpeg(), {"X-Request-ID": "fault-spin"})
        engine_at_work(service)
    worker.kill()
    assert gone(engines)
    wait_until(service.ready)
    assert service.worker().pid != worker.pid
    if at_work:
        post.join(60)
        assert isinstance(post.error, OSError)


def test_a_hanging_engine_does_not_outlive_a_killed_web_worker(service: Service) -> None:
    (engine,) = service.engines()
    engine.suspend()
    service.worker().kill()
    assert gone([engine])
    wait_until(service.ready)


def test_termination_ends_every_process(start: Start) -> None:
    service = start(ENGINE_PROCESSES=2)
    tree = service.tree()
    assert len(tree) == 3
    assert service.stop() == 0
    assert gone(tree)


def test_running_photos_are_finished_at_termination(start: Start) -> None:
    service = start(ENGINE_PROCESSES=1)
    post = Post(service, SLOW, slow_photo())
    engine_at_work(service)
    tree = service.tree()
    assert service.stop() == 0
    assert post.result().status == 200
    assert gone(tree)


def test_ctrl_c_ends_every_process(start: Start) -> None:
    service = start(ENGINE_PROCESSES=1)
    tree = service.tree()
    for process in [psutil.Process(service.process.pid), *tree]:  # a terminal sends it to the whole group
        with suppress(psutil.NoSuchProcess):  # the master has ended it meanwhile
            process.send_signal(signal.SIGINT)
    service.process.wait(60)
    assert gone(tree)


def test_bad_settings_stop_the_start_with_one_message(tmp_path: Path) -> None:
    bad = {"PORT": "none", "MODEL_NAME": "nothing", "QUEUE_SIZE": "-1"}
    process = gunicorn(bad, tmp_path / "log")
    assert process.wait(60) != 0
    log = (tmp_path / "log").read_text()
    assert [name for name in bad if f"{name}=" not in log] == []
    assert "Traceback" not in log


def test_a_model_without_weights_is_503_with_the_command(tmp_path: Path) -> None:
    port = free_port()
    environment = {"HOST": "127.0.0.1", "PORT": str(port), "MODEL_NAME": "silueta", "REMBG_HOME": str(tmp_path)}
    # No download: the proxy is a port without a listener.
    environment |= dict.fromkeys(("HTTPS_PROXY", "https_proxy"), f"http://127.0.0.1:{free_port()}")
    service = Service(port, tmp_path / "log", gunicorn(environment, tmp_path / "log"))
    try:
        wait_until(lambda: service.answers() and "weights" in service.request("/health/ready").json.get("reason", ""))
        assert "models pull silueta" in service.request("/health/ready").json["solution"]
        answer = service.request(URL, jpeg())
        assert (answer.status, answer.json["code"]) == (503, "MODEL_UNAVAILABLE")
        assert "python -m app models pull silueta" in answer.json["solution"]
    finally:
        service.stop()


def test_log_lines_carry_the_request_id(service: Service) -> None:
    service.request(URL, jpeg(), headers={"X-Request-ID": "find-me-again"})
    wait_until(lambda: "request_id=find-me-again method=POST" in service.log.read_text())
