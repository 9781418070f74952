"""Jobs over HTTP, the same for both backends: gunicorn and engines, for Celery with a Redis and a worker, all real."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import pytest
import urllib3

from tests.support.patient_app import PATIENT_APP
from tests.support.photos import encoded, opened, photo
from tests.support.servers import RedisServer
from tests.support.service import Service
from tests.support.waiting import wait_until
from tests.support.workers import Worker

pytestmark = pytest.mark.integration

PHOTO = encoded(photo("coffee").resize((300, 200)), "JPEG")
Start = Callable[..., Service]


@dataclass(frozen=True)
class Client:
    """A client of a service; `key` is its API key."""

    service: Service
    key: str = "shop-key"

    def request(self, method: str, path: str, **options: Any) -> urllib3.BaseHTTPResponse:
        headers = {"Authorization": f"Bearer {self.key}"} | options.pop("headers", {})
        url = f"http://127.0.0.1:{self.service.port}{path}"
        return urllib3.request(method, url, headers=headers, retries=False, timeout=60, **options)

    def submit(self, photos: Sequence[bytes], query: str = "", **headers: str) -> urllib3.BaseHTTPResponse:
        fields = [("file", (f"photo-{number}.jpg", data, "image/jpeg")) for number, data in enumerate(photos, start=1)]
        return self.request("POST", f"/jobs{query}", fields=fields, headers=headers)

    def job(self, path: str) -> Any:
        return self.request("GET", path).json()

    def ended(self, path: str) -> Any:
        """Return a job after its end."""
        wait_until(lambda: self.job(path)["state"] == "done", 120)
        return self.job(path)


@pytest.fixture(scope="module", params=["local", "celery"])
def service(
    request: pytest.FixtureRequest, start: Start, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("jobs")
    settings = {
        "MODEL_NAME": "lite",
        "ENGINE_PROCESSES": "1",
        "API_KEYS": "shop-key,other-key",
        "JOBS_DIR": str(folder / "local"),
    }
    if request.param == "local":
        yield start(**settings)
        return
    redis: RedisServer = request.getfixturevalue("redis")
    settings |= {"JOBS_BACKEND": "celery", "JOBS_STORAGE": (folder / "shared").as_uri(), "REDIS_URL": redis.url}
    worker = Worker("contract", folder / "worker.log", settings).start()
    try:
        yield start(PATIENT_APP, **settings)
    finally:
        worker.kill()


@pytest.fixture
def client(service: Service) -> Client:
    return Client(service)


def test_a_job_is_accepted_processed_and_delivered(client: Client) -> None:
    answer = client.submit([PHOTO] * 4, "?format=WEBP")
    assert answer.status == 202, answer.data
    path = answer.headers["Location"]
    assert path == f"/jobs/{answer.json()['id']}"
    job = client.ended(path)
    assert job["counts"] == {"total": 4, "queued": 0, "running": 0, "done": 4, "failed": 0}
    assert (job["progress"], job["seconds_left"]) == (1, 0)
    for item in job["items"]:
        (result,) = item["results"]
        picture = client.request("GET", result["link"])
        assert picture.headers["Content-Type"] == result["mimetype"] == "image/webp"
        assert sha256(picture.data).hexdigest() == result["sha256"]
        assert opened(picture.data).mode == "RGBA"


def test_the_zip_holds_every_result(client: Client) -> None:
    path = client.submit([PHOTO] * 3, "?presets=amazon,thumbnail").headers["Location"]
    client.ended(path)
    archive = zipfile.ZipFile(io.BytesIO(client.request("GET", f"{path}/results.zip").data))
    assert archive.testzip() is None
    names = {name for name in archive.namelist() if name != "manifest.json"}
    assert len(names) == 6
    assert {name.partition("/")[0] for name in names} == {"amazon", "thumbnail"}
    assert json.loads(archive.read("manifest.json"))


def test_a_bad_photo_fails_alone(client: Client) -> None:
    path = client.submit([PHOTO, PHOTO[:2000], PHOTO]).headers["Location"]
    job = client.ended(path)
    assert job["counts"] == {"total": 3, "queued": 0, "running": 0, "done": 2, "failed": 1}
    assert [item["state"] for item in job["items"]] == ["done", "failed", "done"]
    assert job["items"][1]["error"]["code"] == "CORRUPT_IMAGE"


def test_events_end_with_the_job(client: Client) -> None:
    path = client.submit([PHOTO] * 3).headers["Location"]
    events = client.request("GET", f"{path}/events").data.decode()
    states = [json.loads(line[5:])["state"] for line in events.splitlines() if line.startswith("data:")]
    assert states[-1] == "done"


def test_a_repeated_request_gets_the_same_job(client: Client) -> None:
    first = client.submit([PHOTO], **{"Idempotency-Key": "k"})
    second = client.submit([PHOTO], **{"Idempotency-Key": "k"})
    other = client.submit([PHOTO, PHOTO], **{"Idempotency-Key": "k"})
    assert first.headers["Location"] == second.headers["Location"]
    assert (other.status, other.json()["code"]) == (409, "IDEMPOTENCY_CONFLICT")


def test_a_job_is_listed_to_its_key_and_hidden_from_others(client: Client, service: Service) -> None:
    path = client.submit([PHOTO]).headers["Location"]
    other = Client(service, "other-key")
    listed = {job["links"]["self"] for job in client.job("/jobs")["jobs"]}
    assert path in listed
    assert path not in {job["links"]["self"] for job in other.job("/jobs")["jobs"]}
    unknown = other.request("GET", f"/jobs/{'0' * 32}")
    for method, place in (("GET", path), ("GET", f"{path}/results.zip"), ("DELETE", path), ("GET", f"{path}/items/1")):
        assert other.request(method, place).status == unknown.status == 404


def test_a_deleted_job_is_gone(client: Client) -> None:
    path = client.submit([PHOTO] * 5).headers["Location"]
    assert client.request("DELETE", path).status == 204
    assert client.request("GET", path).status == 404
    assert client.request("GET", f"{path}/items/1").status == 404


def test_photos_of_jobs_are_counted(client: Client) -> None:
    def done() -> float:
        lines = client.request("GET", "/metrics").data.decode().splitlines()
        name = 'bg_remover_job_photos_total{outcome="done"} '
        return float(next(line for line in lines if line.startswith(name)).removeprefix(name))

    before = done()
    client.ended(client.submit([PHOTO] * 2).headers["Location"])
    wait_until(lambda: done() >= before + 2)


def test_the_service_is_healthy(service: Service) -> None:
    wait_until(service.healthy)
