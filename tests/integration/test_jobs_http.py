"""Jobs over HTTP with a real gunicorn and real engines: whole jobs, hostile clients, bounded memory."""

from __future__ import annotations

import base64
import hashlib
import http.client
import io
import json
import socket
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import urllib3

from tests.support.api_keys import sha
from tests.support.job_clients import stored_files
from tests.support.photos import encoded, jpeg, opened, photo
from tests.support.service import Service
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

SHOP, RIVAL = {"X-Api-Key": "shop"}, {"X-Api-Key": "rival"}
MEGABYTE = 1 << 20
BOUNDARY = b"\r\n--b\r\n"
HEAD = b'Content-Disposition: form-data; name="file"; filename="%d.jpg"\r\n\r\n'
Files = list[tuple[str, tuple[str, bytes]]]


class Shop:
    """A client with a key of a running service."""

    def __init__(self, service: Service, folder: Path) -> None:
        self.service, self.folder = service, folder
        self.http = urllib3.PoolManager(maxsize=8, retries=False)

    def send(self, method: str, path: str, key: dict[str, str] = SHOP, **more: Any) -> Any:
        headers = key | more.pop("headers", {})
        url = f"http://127.0.0.1:{self.service.port}{path}"
        return self.http.request(method, url, headers=headers, timeout=120, **more)

    def submit(self, files: Files, **fields: str) -> str:
        """Submit a job and return its path."""
        answer = self.send("POST", "/jobs", fields=[*files, *fields.items()])
        assert answer.status == 202, answer.data
        return str(answer.headers["Location"])

    def job(self, path: str) -> Any:
        return self.send("GET", path).json()

    def wait(self, path: str) -> Any:
        wait_until(lambda: self.job(path)["state"] == "done", 300)
        return self.job(path)

    def stored(self) -> list[Path]:
        """Return the files of all jobs, incomplete ones included."""
        return stored_files(self.folder)

    def stored_bytes(self) -> int:
        """Return the size of these files; one that is deleted meanwhile has none."""
        size = 0
        for path in self.stored():
            with suppress(FileNotFoundError):
                size += path.stat().st_size
        return size

    def connect(self, head: str, **headers: str) -> socket.socket:
        """Return a connection on which the head of a request was sent."""
        lines = {"Host": "localhost", **SHOP, **headers}
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(60)
        connection.connect(("127.0.0.1", self.service.port))
        fields = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        connection.sendall(f"{head} HTTP/1.1\r\n{fields}\r\n".encode())
        return connection


@pytest.fixture(scope="module")
def shop(start: Callable[..., Service], tmp_path_factory: pytest.TempPathFactory) -> Shop:
    folder = tmp_path_factory.mktemp("jobs")
    keys = folder / "keys"
    keys.write_text(f"shop:{sha('shop')}:0\nrival:{sha('rival')}:0\n")
    service = start(
        ENGINE_PROCESSES=1, MODEL_NAME="lite", API_KEYS_FILE=keys, JOBS_DIR=folder / "jobs", JOBS_MAX_BYTES=400_000_000
    )
    return Shop(service, folder / "jobs")


@pytest.fixture(autouse=True)
def same_worker_afterwards(shop: Shop) -> Iterator[None]:
    """Delete all jobs; check that no file is left, the worker was not replaced, and that it has logged no error."""
    worker = shop.service.worker().pid
    yield
    for job in shop.send("GET", "/jobs").json()["jobs"]:
        shop.send("DELETE", job["links"]["self"])
    wait_until(lambda: shop.stored() == [])
    assert shop.service.worker().pid == worker
    log = shop.service.log.read_text()
    assert "Traceback" not in log and "unexpected error" not in log


def files(count: int, content: bytes = b"") -> Files:
    return [("file", (f"{number}.jpg", content or jpeg())) for number in range(1, count + 1)]


def small() -> bytes:
    return encoded(photo("cat").resize((64, 48)), "JPEG")


# Whole jobs


def events(shop: Shop, path: str) -> Iterator[Any]:
    """Yield the data of a job's events until the stream ends."""
    answer = shop.send("GET", f"{path}/events", preload_content=False)
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    for line in io.TextIOWrapper(answer):
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


def test_twenty_photos_with_a_corrupt_one(shop: Shop) -> None:
    sent = files(20)
    sent[6] = ("file", ("../broken.jpg", jpeg()[:3000]))
    path = shop.submit(sent, presets="web,thumbnail")
    last = list(events(shop, path))[-1]
    assert (last["state"], last["counts"]["done"], last["counts"]["failed"]) == ("done", 19, 1)
    broken = shop.job(path)["items"][6]
    assert (broken["name"], broken["state"], broken["error"]["code"]) == ("broken.jpg", "failed", "CORRUPT_IMAGE")
    assert shop.send("GET", f"{path}/items/7?preset=web").json()["code"] == "CORRUPT_IMAGE"
    check_zip(shop.send("GET", f"{path}/results.zip").data)


def check_zip(data: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        assert file.testzip() is None
        contents = {name: file.read(name) for name in file.namelist()}
    assert list(contents)[-1] == "manifest.json"
    manifest = json.loads(contents.pop("manifest.json"))
    listed = [result for item in manifest["items"] for result in item["results"]]
    assert [result["path"] for result in listed] == list(contents)
    assert sum(name.startswith("web/") for name in contents) == sum(name.startswith("thumbnail/") for name in contents)
    assert len(contents) == 38
    for result in listed:
        content = contents[result["path"]]
        assert (result["size"], result["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
        assert opened(content).size == (result["width"], result["height"])


def test_a_result_is_that_of_a_single_photo(shop: Shop) -> None:
    path = shop.submit(files(1), quality="90", background="white")
    shop.wait(path)
    single = shop.send("POST", "/remove-background?quality=90&background=white", body=jpeg())
    answer = shop.send("GET", f"{path}/items/1")
    assert (answer.status, answer.data) == (200, single.data)


def test_json_and_forms_are_the_same(shop: Shop) -> None:
    form = shop.submit(files(1))
    body = {"images": [{"name": "1.jpg", "image": encoded_text(jpeg())}]}
    answer = shop.send("POST", "/jobs", json=body)
    assert answer.status == 202
    results = [shop.wait(each)["items"][0]["results"][0] for each in (form, answer.headers["Location"])]
    assert results[0]["sha256"] == results[1]["sha256"]


def encoded_text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def test_a_job_of_another_key_does_not_exist(shop: Shop) -> None:
    path = shop.submit(files(1, small()))
    for method, end in (("GET", ""), ("GET", "/events"), ("GET", "/items/1"), ("GET", "/results.zip"), ("DELETE", "")):
        other, unknown = (
            shop.send(method, each + end, RIVAL, headers={"X-Request-ID": "same"}) for each in (path, "/jobs/0")
        )
        assert (other.status, other.data) == (404, unknown.data)
    assert shop.send("GET", "/jobs", RIVAL).json() == {"jobs": []}
    assert shop.send("GET", path).status == 200


def test_a_job_is_deleted_while_it_runs(shop: Shop) -> None:
    path = shop.submit(files(60))
    stream = events(shop, path)
    assert next(stream)["state"] in {"queued", "running"}
    wait_until(lambda: shop.job(path)["counts"]["done"])
    (engine,) = shop.service.engines()
    engine.suspend()  # so that the job does not end before its deletion
    try:
        assert shop.send("DELETE", path).status == 204
        assert list(stream)[-1]["state"] == "cancelled"
        assert shop.send("GET", path).status == 404
    finally:
        engine.resume()
    wait_until(lambda: shop.stored() == [])


# Hostile clients


def held(shop: Shop) -> tuple[int, int]:
    """Return the number of file descriptors and of threads of the worker."""
    worker = shop.service.worker()
    return worker.num_fds(), worker.num_threads()


def test_a_zip_whose_reader_hangs_up_holds_nothing(shop: Shop) -> None:
    path = shop.submit(files(12))
    shop.wait(path)
    shop.send("GET", f"{path}/results.zip")  # so that the threads for it exist
    descriptors, _ = held(shop)
    for _ in range(5):
        with shop.connect(f"GET {path}/results.zip") as connection:
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")
    wait_until(lambda: held(shop)[0] <= descriptors)
    wait_until(lambda: not [file for file in shop.service.worker().open_files() if "/files/" in file.path])


def test_readers_that_never_read_hold_no_thread(shop: Shop) -> None:
    path = shop.submit(files(1000, b"x"))
    running = shop.submit(files(40))
    connections = [shop.connect(f"GET {each}/events") for each in (path, running) for _ in range(15)]
    try:
        shop.wait(running)
        _, threads = held(shop)
        more = [shop.connect(f"GET {running}/events") for _ in range(30)]
        assert shop.send("GET", "/health/live").status == 200
        assert (
            shop.send("POST", "/remove-background", body=jpeg(), headers={"Content-Type": "image/jpeg"}).status == 200
        )
        assert held(shop)[1] <= threads + 4
        connections += more
    finally:
        for connection in connections:
            connection.close()


def test_a_part_that_never_ends_takes_no_space(shop: Shop) -> None:
    connection = shop.connect(
        "POST /jobs", **{"Content-Type": "multipart/form-data; boundary=b", "Transfer-Encoding": "chunked"}
    )
    with closing(connection):
        send_chunk(connection, BOUNDARY.lstrip() + HEAD % 1 + jpeg())
        for _ in range(30):
            send_chunk(connection, bytes(MEGABYTE))
        assert shop.stored_bytes() <= 10 * MEGABYTE
    wait_until(lambda: shop.stored() == [])


def send_chunk(connection: socket.socket, data: bytes) -> None:
    connection.sendall(b"%x\r\n%s\r\n" % (len(data), data))


def test_a_thousand_parts_of_one_byte(shop: Shop) -> None:
    answer = shop.send("POST", "/jobs", fields=files(1000, b"x"))
    assert (answer.status, answer.json()["counts"]["failed"]) == (202, 1000)
    answer = shop.send("POST", "/jobs", fields=files(1001, b"x"))
    assert (answer.status, answer.json()["code"]) == (413, "TOO_MANY_PHOTOS")


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"X-Api-Key": "wrong"}, b"AUTH_FAILED"),
        ({"Idempotency-Key": ""}, b"INVALID_PARAMETER"),
        ({"Content-Length": "400000001"}, b"FILE_TOO_LARGE"),
    ],
)
def test_a_refusal_comes_before_the_body(shop: Shop, headers: dict[str, str], code: bytes) -> None:
    announced = {
        "Content-Type": "multipart/form-data; boundary=b",
        "Content-Length": "1000",
        "Expect": "100-continue",
        **headers,
    }
    with shop.connect("POST /jobs", **announced) as connection:
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert answer.status >= 400
        assert code in answer.read()


# Memory


class Peak(threading.Thread):
    """Maximum of a process's resident memory while it runs."""

    def __init__(self, process: psutil.Process) -> None:
        super().__init__(daemon=True)
        self.process, self.ended, self.bytes = process, threading.Event(), 0

    def __enter__(self) -> Peak:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.join()

    def run(self) -> None:
        while not self.ended.wait(0.02):
            self.bytes = max(self.bytes, self.process.memory_info().rss)


def large_form(count: int, padding: bytes) -> Iterator[bytes]:
    for number in range(count):
        yield BOUNDARY + HEAD % number + jpeg() + padding
    yield b"\r\n--b--\r\n"


def large_json(count: int, padding: bytes) -> Iterator[bytes]:
    text = encoded_text(jpeg() + padding).encode()
    yield b'{"images": ["' + text
    for _ in range(count - 1):
        yield b'", "' + text
    yield b'"]}'


@pytest.mark.parametrize(
    ("kind", "make"), [("multipart/form-data; boundary=b", large_form), ("application/json", large_json)]
)
def test_memory_is_bounded_while_300_mb_come_in_and_go_out(
    shop: Shop, kind: str, make: Callable[[int, bytes], Iterator[bytes]]
) -> None:
    count = 36
    warm_up = shop.submit(files(2))
    shop.wait(warm_up)
    worker = shop.service.worker()
    before = worker.memory_info().rss
    body = make(count, bytes(8 * MEGABYTE if kind.startswith("m") else 6 * MEGABYTE))
    with Peak(worker) as peak:
        answer = shop.send("POST", "/jobs", body=body, headers={"Content-Type": kind}, chunked=True)
    assert answer.status == 202, answer.data
    assert answer.json()["counts"]["total"] == count
    assert shop.send("DELETE", answer.headers["Location"]).status == 204
    # Photos of the job are in work meanwhile, each with its whole content.
    assert peak.bytes - before < 60 * MEGABYTE
