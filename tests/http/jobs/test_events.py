"""Server-sent events of a job."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.http.jobs import events, views
from app.jobs.errors import JobsUnavailable
from app.server.environ import ARRIVAL
from app.server.flush import Flush
from tests.support.job_clients import jobs_of, post, work


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "LOOK_SECONDS", 0.01)


def opened(client: FlaskClient, path: str, **headers: str) -> tuple[TestResponse, Iterator[bytes]]:
    """Open a stream as under this project's server, which pauses between two pieces by itself."""
    answer = client.get(f"{path}/events", headers=headers, buffered=False, environ_overrides={ARRIVAL: 0.0})
    return answer, iter(answer.response)  # type: ignore[arg-type]


def parsed(piece: bytes) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in piece.decode().strip().splitlines())


def data(piece: bytes) -> Any:
    return json.loads(parsed(piece)["data"])


def states(piece: bytes) -> dict[str, str]:
    return {item["name"]: item["state"] for item in data(piece)["items"]}


def test_a_stream_begins_with_everything_and_ends_with_the_job(client: FlaskClient) -> None:
    path = post(client, 3).headers["Location"]
    answer, pieces = opened(client, path)
    assert (answer.status_code, answer.mimetype) == (200, "text/event-stream")
    assert (answer.headers["Cache-Control"], answer.headers["X-Accel-Buffering"]) == ("no-store", "no")
    assert next(pieces) == b"retry: 2000\n\n"
    first = next(pieces)
    assert parsed(first)["event"] == "job"
    assert (data(first)["state"], set(states(first).values())) == ("queued", {"queued"})
    work(client)
    later = list(pieces)
    last = data(later[-1])
    assert (last["state"], last["progress"]) == ("done", 1.0)
    assert last == client.get(path).json | {"items": last["items"]}  # type: ignore[operator]
    answer.close()


def test_later_events_have_the_changed_photos_only(client: FlaskClient) -> None:
    path = post(client, 3).headers["Location"]
    answer, pieces = opened(client, path)
    next(pieces)
    assert set(states(next(pieces))) == {"photo-1.jpg", "photo-2.jpg", "photo-3.jpg"}
    store: Any = jobs_of(client)._store
    store.claim("a-process")
    assert states(next(pieces)) == {"photo-1.jpg": "running"}
    assert next(pieces) == b""
    answer.close()


def test_the_id_continues_a_stream(client: FlaskClient) -> None:
    path = post(client, 3).headers["Location"]
    answer, pieces = opened(client, path)
    next(pieces)
    version = parsed(next(pieces))["id"]
    answer.close()
    store: Any = jobs_of(client)._store
    store.claim("a-process")
    answer, pieces = opened(client, path, **{"Last-Event-ID": version})
    next(pieces)
    assert states(next(pieces)) == {"photo-1.jpg": "running"}
    answer.close()


def test_a_stream_continues_after_a_restart(make_jobs_client: Callable[..., FlaskClient]) -> None:
    first, second = make_jobs_client(), make_jobs_client()  # over the same folder
    path = post(first, 3).headers["Location"]
    answer, pieces = opened(first, path)
    assert next(pieces) == b"retry: 2000\n\n"
    version = parsed(next(pieces))["id"]
    answer.close()
    store: Any = jobs_of(second)._store
    store.claim("a-process")
    answer, pieces = opened(second, path, **{"Last-Event-ID": version})
    assert next(pieces) == b"retry: 2000\n\n"
    assert states(next(pieces)) == {"photo-1.jpg": "running"}
    answer.close()


@pytest.mark.parametrize("sent", ["99999", "x", "-5", "1" * 30])
def test_an_unknown_id_begins_again(client: FlaskClient, sent: str) -> None:
    path = post(client, 2).headers["Location"]
    answer, pieces = opened(client, path, **{"Last-Event-ID": sent})
    next(pieces)
    assert len(states(next(pieces))) == 2
    answer.close()


def test_a_browser_that_has_the_end_is_told_to_stop(client: FlaskClient) -> None:
    path = post(client).headers["Location"]
    work(client)
    last = client.get(f"{path}/events").text.strip().split("\n\n")[-1]
    answer = client.get(f"{path}/events", headers={"Last-Event-ID": parsed(last.encode())["id"]})
    assert (answer.status_code, answer.data) == (204, b"")


def test_a_deleted_job_is_cancelled(client: FlaskClient) -> None:
    path = post(client).headers["Location"]
    answer, pieces = opened(client, path)
    next(pieces)
    next(pieces)
    client.delete(path)
    assert [data(piece)["state"] for piece in pieces] == ["cancelled"]
    answer.close()


def test_pauses_are_left_to_the_server(client: FlaskClient) -> None:
    answer, pieces = opened(client, post(client).headers["Location"])
    next(pieces)
    piece = next(pieces)
    assert isinstance(piece, Flush)
    assert piece.pause == 0.01
    answer.close()


def test_another_server_sleeps(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    slept = list[float]()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        work(client)

    monkeypatch.setattr(events, "time", SimpleNamespace(sleep=sleep, monotonic=time.monotonic))
    path = post(client).headers["Location"]
    text = client.get(f"{path}/events").text
    assert slept == [0.01]
    assert '"state":"done"' in text


def test_silence_is_broken_by_comments(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "KEEP_ALIVE_SECONDS", 0.0)
    answer, pieces = opened(client, post(client).headers["Location"])
    assert [next(pieces) for _ in range(4)][2:] == [b": keep-alive\n\n"] * 2
    answer.close()


@pytest.mark.parametrize("method", ["find", "items"])
def test_a_stream_survives_a_failure_of_the_store(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    path = post(client).headers["Location"]
    answer, pieces = opened(client, path)
    next(pieces)
    next(pieces)

    def fail(*_: object) -> Any:
        raise JobsUnavailable()

    with monkeypatch.context() as patch:
        patch.setattr(jobs_of(client), method, fail)
        assert next(pieces) == b""
    work(client)
    assert data(list(pieces)[-1])["state"] == "done"
    answer.close()


def test_streams_are_bounded_and_given_back(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    path = post(client).headers["Location"]
    before = views._streams._value
    held = [opened(client, path)[0] for _ in range(before)]
    refused = client.get(f"{path}/events")
    assert refused.json is not None
    assert (refused.status_code, refused.json["code"]) == (429, "QUEUE_FULL")
    assert refused.headers["Retry-After"] == "10"
    for answer in held:
        answer.close()
    assert views._streams._value == before
