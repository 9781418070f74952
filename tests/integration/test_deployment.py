"""A complete deployment: nginx with nginx.conf, TLS, two instances, Redis."""

from __future__ import annotations

import http.client
import http.server
import io
import json
import re
import socket
import subprocess
import threading
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import psutil
import pytest

from app.http.security import SECURITY_HEADERS
from tests.support.nginx_clients import Load, Reply, ask, ask_slowly, connect, hold, new_client, reply
from tests.support.photos import encoded, jpeg, opened, photo
from tests.support.redis_circuits import undisturbed
from tests.support.servers import NginxServer, RedisServer, binary
from tests.support.service import Service, end, free_port, gunicorn
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

URL, PREVIEW, REMOVEBG = "/remove-background", "/remove-background-preview", "/v1.0/removebg"
NATIVE_KEYS = ["error", "message", "code", "statusCode", "solution", "details", "request_id"]
TOO_MANY_BYTES = 16_777_217
Start = Callable[..., Service]
MakeNginx = Callable[..., NginxServer]


@pytest.fixture(scope="module")
def make_nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeNginx]:
    """Start nginx in front of given ports, with changed timeouts."""
    running: list[NginxServer] = []

    def make(*instances: int, **changes: str) -> NginxServer:
        seconds = {f"{name} 130s": f"{name} {value}" for name, value in changes.items()}
        server = NginxServer(tmp_path_factory.mktemp("nginx"), free_port(), free_port(), instances, seconds)
        running.append(server.start())
        return server

    yield make
    for server in running:
        server.stop()


@pytest.fixture(scope="module")
def settings(redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """Settings of an instance behind nginx; direct clients may read its metrics."""
    return {
        "ENGINE_PROCESSES": 1,
        "TRUSTED_PROXIES": 1,
        "RATE_LIMIT_STORAGE": "redis",
        "REDIS_URL": redis.url,
        "RATE_LIMIT_REMOVE_BG_PER_HOUR": 4,
        "METRICS_ALLOWED_IPS": "0.0.0.0/0",
        "JOBS_DIR": tmp_path_factory.mktemp("jobs"),
    }


@pytest.fixture(scope="module")
def instances(start: Start, settings: dict[str, object]) -> tuple[Service, Service]:
    return start(**settings), start(**settings)


@pytest.fixture(scope="module")
def nginx(make_nginx: MakeNginx, instances: tuple[Service, Service]) -> NginxServer:
    return make_nginx(*(instance.port for instance in instances))


@pytest.fixture(scope="module")
def deserted(make_nginx: MakeNginx) -> NginxServer:
    """Nginx without a running instance."""
    return make_nginx(free_port(), free_port())


@pytest.fixture(scope="module")
def mute(make_nginx: MakeNginx) -> Iterator[NginxServer]:
    """Nginx with short timeouts, in front of an instance that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield make_nginx(server.getsockname()[1], proxy_read_timeout="1s")


def test_a_photo_is_processed(nginx: NginxServer) -> None:
    answer = ask(nginx, URL, jpeg(), new_client())
    assert (answer.status, opened(answer.body).mode) == (200, "RGBA")


def test_large_photos_and_answers_pass(nginx: NginxServer) -> None:
    large = encoded(photo("coffee").resize((5000, 3333)), "JPEG", quality=95)
    answer = ask(nginx, URL, large, new_client())
    assert max(opened(answer.body).size) == 2048


def test_every_header_comes_once(nginx: NginxServer) -> None:
    for answer in (ask(nginx, "/health"), ask(nginx, "/metrics")):  # one from an instance, one from nginx
        for name, value in (SECURITY_HEADERS | {"Cross-Origin-Resource-Policy": "same-origin"}).items():
            assert answer.headers.get_all(name) == [value]
        assert answer.headers.get_all("Strict-Transport-Security") == ["max-age=31536000"]
        assert len(answer.headers.get_all("X-Request-ID") or ()) == 1
        assert answer.headers["Server"] == "nginx"


def test_a_request_id_is_the_same_everywhere(nginx: NginxServer, instances: tuple[Service, Service]) -> None:
    assert ask(nginx, "/docs", X_Request_ID="mine-1").headers["X-Request-ID"] == "mine-1"
    made = ask(nginx, "/docs", X_Request_ID="not ours").headers["X-Request-ID"]
    assert len(made) == 32
    for request_id in ("mine-1", made):
        wait_until(partial(is_logged, nginx, instances, request_id))  # a line is written after the answer


def is_logged(nginx: NginxServer, instances: tuple[Service, Service], request_id: str) -> bool:
    """Return whether nginx and one instance have each logged a request."""
    line = f"request_id={request_id} "
    served = any(line in instance.log.read_text() for instance in instances)
    return served and line in (nginx.folder / "access.log").read_text()


def test_no_query_is_in_the_log(nginx: NginxServer) -> None:
    request_id = ask(nginx, "/health/live?key=secret-1").headers["X-Request-ID"]
    log = nginx.folder / "access.log"
    wait_until(lambda: request_id in log.read_text())
    assert '"GET /health/live" 200' in log.read_text() and "secret-1" not in log.read_text()


def test_a_job_passes_and_its_id_stays_out_of_the_log(nginx: NginxServer) -> None:
    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n' + jpeg() + bytes(9_000_000)
    body = b"\r\n".join([part] * 3) + b"\r\n--b--\r\n"
    assert len(body) > TOO_MANY_BYTES
    answer = ask(nginx, "/jobs", body, new_client(), Content_Type="multipart/form-data; boundary=b")
    job = json.loads(answer.body)
    assert (answer.status, job["counts"]["total"]) == (202, 3)
    ask(nginx, f"/jobs/{job['id']}/items/1")
    log = nginx.folder / "access.log"
    wait_until(lambda: f"GET /jobs/{job['id'][:8]}.../items/1" in log.read_text())
    assert job["id"] not in log.read_text()


def curl(nginx: NginxServer, *options: str) -> subprocess.CompletedProcess[bytes]:
    """Post a body by HTTP/2 and write the status and the version of HTTP after the answer."""
    command = [
        binary("curl"),
        "-sk",
        "--http2",
        "--interface",
        new_client(),
        "-w",
        "\n%{http_code} %{http_version}",
        *options,
    ]
    return subprocess.run([*command, f"https://127.0.0.1:{nginx.https}{URL}"], capture_output=True, timeout=120)


def test_a_photo_is_processed_by_http_2(nginx: NginxServer, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(jpeg())
    answer = curl(nginx, "-F", f"file=@{tmp_path / 'photo.jpg'}")
    picture, _, how = answer.stdout.rpartition(b"\n")
    assert (how, opened(picture).mode) == (b"200 2", "RGBA")


def test_a_large_upload_by_http_2_reads_its_413(nginx: NginxServer, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(TOO_MANY_BYTES))
    answer = curl(nginx, "--data-binary", f"@{tmp_path / 'large'}")
    body, _, how = answer.stdout.rpartition(b"\n")
    assert (how, json.loads(body)["code"]) == (b"413 2", "FILE_TOO_LARGE")


def test_plain_http_redirects_to_https(nginx: NginxServer) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", nginx.http, timeout=60)) as connection:
        connection.request("POST", f"{URL}?format=webp", b"x")
        answer = reply(connection)
    assert (answer.status, answer.headers["Location"]) == (308, f"https://127.0.0.1{URL}?format=webp")


def test_plain_http_at_the_wrong_port_is_json(nginx: NginxServer) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", nginx.https, timeout=60)) as connection:
        connection.request("GET", "/health")
        answer = reply(connection)
    assert (answer.status, answer.json["code"]) == (400, "INVALID_PARAMETER")


def test_limits_are_per_client_over_all_instances(nginx: NginxServer, instances: tuple[Service, Service]) -> None:
    other = new_client()
    answers = undisturbed(lambda: five_answers(nginx, [{}] * 5), *instances)
    assert [answer.status for answer in answers] == [415] * 4 + [429]
    assert (answers[4].json["code"], list(answers[4].json)) == ("RATE_LIMITED", NATIVE_KEYS)
    assert int(answers[4].headers["Retry-After"]) > 3000
    assert ask(nginx, URL, b"no image", other).status == 415


def five_answers(nginx: NginxServer, headers: Sequence[dict[str, str]]) -> list[Reply]:
    """Return the answers to a new client, which sends five requests."""
    client = new_client()
    return [ask(nginx, URL, b"no image", client, **each) for each in headers]


@pytest.mark.parametrize("name", ["X_Forwarded_For", "Forwarded", "X_Real_IP"])
def test_a_forged_address_does_not_help(name: str, nginx: NginxServer, instances: tuple[Service, Service]) -> None:
    forged = [{name: f"{'for=' if name == 'Forwarded' else ''}203.0.113.{number}"} for number in range(5)]
    answers = undisturbed(lambda: five_answers(nginx, forged), *instances)
    assert [answer.status for answer in answers] == [415] * 4 + [429]


def test_errors_of_an_instance_pass_unchanged(nginx: NginxServer, instances: tuple[Service, Service]) -> None:
    for path, body in ((URL, b"no image"), ("/nowhere", None), (f"{URL}?quality=1", jpeg())):
        through = ask(nginx, path, body, new_client(), X_Request_ID="same")
        direct = instances[0].request(path, body, headers={"X-Request-ID": "same", "X-Forwarded-For": "192.0.2.1"})
        assert (through.status, through.json) == (direct.status, direct.json)
        assert through.headers["Content-Type"] == direct.headers["Content-Type"]


@pytest.mark.parametrize("path", ["/metrics", "/metrics?a=b", "//metrics", "/./metrics", "/x/../metrics", "/%6detrics"])
def test_metrics_are_closed_to_the_outside(path: str, nginx: NginxServer, instances: tuple[Service, Service]) -> None:
    assert instances[0].request("/metrics").status == 200
    answer = ask(nginx, path)
    assert (answer.status, answer.json["code"]) == (403, "FORBIDDEN")


def test_a_body_of_exactly_the_limit_reaches_the_instance(nginx: NginxServer) -> None:
    answer = ask(nginx, URL, bytes(TOO_MANY_BYTES - 1), new_client())
    assert (answer.status, answer.json["code"]) == (413, "FILE_TOO_LARGE")
    assert "image has" in answer.json["message"]


def test_a_job_is_larger_than_a_photo_may_be_and_known_to_all_instances(nginx: NginxServer) -> None:
    padded = jpeg("cat") + bytes(6_000_000)
    part = b'--between\r\nContent-Disposition: form-data; name="file"; filename="cat.jpg"\r\n\r\n' + padded + b"\r\n"
    body, client = part * 3 + b"--between--", new_client()
    assert len(body) > TOO_MANY_BYTES
    job = ask(nginx, "/jobs", body, client, Content_Type="multipart/form-data; boundary=between")
    assert job.status == 202, job.body
    url = job.headers["Location"]
    wait_until(lambda: ask(nginx, url, None, client).json["state"] == "done", 120)
    # least_conn: the requests went to both instances, which share JOBS_DIR.
    results = zipfile.ZipFile(io.BytesIO(ask(nginx, f"{url}/results.zip", None, client).body))
    assert results.namelist() == ["cat.png", "cat-2.png", "cat-3.png", "manifest.json"]
    assert opened(results.read("cat-3.png")).size == photo("cat").size


def test_a_slow_uploader_reads_its_413(nginx: NginxServer) -> None:
    answer = ask_slowly(nginx, URL, bytes(2_000_000), new_client(), announced=TOO_MANY_BYTES)
    assert (answer.status, answer.json["code"], list(answer.json)) == (413, "FILE_TOO_LARGE", NATIVE_KEYS)
    assert answer.json["request_id"] == answer.headers["X-Request-ID"]


def test_a_client_that_sends_its_whole_body_reads_its_413(nginx: NginxServer) -> None:
    assert ask(nginx, URL, bytes(TOO_MANY_BYTES), new_client()).json["code"] == "FILE_TOO_LARGE"


def test_a_client_with_a_chunked_body_reads_its_413(nginx: NginxServer) -> None:
    with closing(connect(nginx, new_client())) as connection:
        chunks = (bytes(1_000_000) for _ in range(18))
        connection.request("POST", URL, chunks, encode_chunked=True)
        assert reply(connection).json["code"] == "FILE_TOO_LARGE"


def test_too_many_bytes_are_400_in_the_remove_bg_dialect(nginx: NginxServer) -> None:
    answer = ask_slowly(nginx, REMOVEBG, bytes(500_000), new_client(), announced=TOO_MANY_BYTES)
    (error,) = answer.json["errors"]
    assert (answer.status, error["code"], list(error)) == (400, "file_too_large", ["title", "code", "detail"])


def test_a_slow_uploader_reads_its_429(nginx: NginxServer, instances: tuple[Service, Service]) -> None:
    body = jpeg() + bytes(2_000_000)

    def fifth_answer(client: str) -> Reply:
        for _ in range(4):
            ask(nginx, URL, b"no image", client)
        return ask_slowly(nginx, URL, body, client, announced=len(body))

    answer = undisturbed(lambda: fifth_answer(new_client()), *instances)
    assert (answer.status, answer.json["code"]) == (429, "RATE_LIMITED")


def test_the_number_of_open_requests_per_address_is_limited(nginx: NginxServer) -> None:
    client = new_client()
    held = [hold(nginx, URL, client) for _ in range(63)]
    assert ask(nginx, "/health/live", client=client).status == 200

    def is_full() -> bool:
        held.append(hold(nginx, URL, client))  # nginx closes connections after its timeout
        return ask(nginx, "/health/live", client=client).status == 429

    wait_until(is_full)
    answer = ask(nginx, "/health/live", client=client)
    assert (answer.json["code"], answer.headers["Retry-After"]) == ("RATE_LIMITED", "1")
    assert ask(nginx, "/health/live", client=new_client()).status == 200
    for connection in held:
        connection.close()


@pytest.mark.parametrize(
    ("server", "status", "code"), [("deserted", 502, "BAD_GATEWAY"), ("mute", 504, "DEADLINE_EXCEEDED")]
)
def test_nginxs_own_errors_are_in_both_dialects(
    server: str, status: int, code: str, request: pytest.FixtureRequest
) -> None:
    nginx = request.getfixturevalue(server)
    native = ask(nginx, URL, jpeg(), X_Request_ID="mine-2")
    assert (native.status, native.headers["Content-Type"]) == (status, "application/json")
    assert (list(native.json), native.json["code"], native.json["statusCode"]) == (NATIVE_KEYS, code, status)
    assert native.json["request_id"] == native.headers["X-Request-ID"] == "mine-2"
    removebg = ask(nginx, REMOVEBG, jpeg())
    assert (removebg.status, removebg.json["errors"][0]["code"]) == (status, code.lower())
    assert list(removebg.json["errors"][0]) == ["title", "code", "detail"]


def connections(port: int) -> int:
    """Return the number of an instance's connections, including those it has not accepted yet."""
    return sum(
        connection.status == psutil.CONN_ESTABLISHED and tuple(connection.laddr)[1:] == (port,)
        for connection in psutil.net_connections("tcp4")
    )


def test_a_killed_instance_costs_only_its_own_requests(
    start: Start, settings: dict[str, object], make_nginx: MakeNginx, tmp_path: Path
) -> None:
    doomed, survivor = start(**settings), start(**settings)
    nginx = make_nginx(doomed.port, survivor.port)
    load = Load(nginx, PREVIEW, clients=6)
    load.answered(20)
    tree = [psutil.Process(doomed.process.pid), *doomed.tree()]
    for process in tree:
        process.suspend()
    wait_until(lambda: connections(doomed.port) >= 3)  # about half of the clients; the other instance has the rest
    load.answered(5)
    for process in tree:
        process.kill()
    load.answered(40)
    environment = {name: str(value) for name, value in settings.items()}
    again = Service(
        doomed.port, tmp_path / "log", gunicorn({**environment, "PORT": str(doomed.port)}, tmp_path / "log")
    )
    try:
        wait_until(again.received)  # nginx uses it again
        outcome = load.stop()
    finally:
        load.stop()
        end(again)
        doomed.process.wait(60)
    assert outcome.keys() == {200, 502}, outcome
    for failed in load.replies:
        if isinstance(failed, Reply) and failed.status == 502:
            wait_until(partial(was_held, nginx, failed, doomed.port))


def was_held(nginx: NginxServer, reply: Reply, port: int) -> bool:
    """Return whether nginx's log shows that a failed request was sent to this instance only."""
    request_id = reply.headers["X-Request-ID"]
    log = (nginx.folder / "access.log").read_text()
    return (
        re.search(rf" request_id={request_id} upstream=127\.0\.0\.1:{port} 502 [\d.]+$", log, re.MULTILINE) is not None
    )


def test_an_orderly_restart_costs_no_request(start: Start, settings: dict[str, object], make_nginx: MakeNginx) -> None:
    leaving, staying = start(**settings), start(**settings)
    load = Load(make_nginx(leaving.port, staying.port), PREVIEW, clients=6)
    load.answered(20)
    assert leaving.stop() == 0
    load.answered(20)
    outcome = load.stop()
    assert outcome.keys() <= {200, 503}, outcome  # 503: accepted, then SHUTTING_DOWN
    assert outcome[503] <= 6


class BadAnswers(http.server.BaseHTTPRequestHandler):
    """An instance with a good answer, one that is too large for nginx, and none."""

    def do_GET(self) -> None:
        if self.path == "/none":
            self.close_connection = True
            return
        self.send_response(200)
        self.send_header("X-Long", "a" * (100_000 if self.path == "/long" else 10_000))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def with_bad_answers(make_nginx: MakeNginx) -> Iterator[NginxServer]:
    """Nginx in front of two instances of `BadAnswers`."""
    servers = [http.server.ThreadingHTTPServer(("127.0.0.1", 0), BadAnswers) for _ in range(2)]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    yield make_nginx(*(server.server_port for server in servers))
    for server in servers:
        server.shutdown()
        server.server_close()


def test_bad_answers_to_one_client_do_not_take_instances_out(with_bad_answers: NginxServer) -> None:
    for path in ("/long", "/none") * 5:
        assert ask(with_bad_answers, path, client=new_client()).status == 502
        assert ask(with_bad_answers, "/good", client=new_client()).status == 200
