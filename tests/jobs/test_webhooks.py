"""Webhooks over real connections to loopback, with the clock of the test."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.errors import CorruptImage
from app.fetch.url_fetcher import UrlFetcher
from app.jobs import webhooks
from app.jobs.description import describe
from app.jobs.model import ItemError, NewItem
from app.jobs.sqlite_store import SqliteStore
from app.jobs.webhooks import LEASE_SECONDS, MAX_CONCURRENT, PAUSES, Webhooks, sign
from app.settings import Settings
from tests.support.clock import Clock
from tests.support.job_doubles import Observed
from tests.support.jobs import an_output, new_job
from tests.support.waiting import wait_until
from tests.support.webhook_receiver import Receiver, loopback_fetcher, receiver

A = "a" * 32
HMAC_KEY = "a secret"


class Sender:
    """Webhooks of a store, sent when the test says so."""

    def __init__(self, folder: Path, port: int, **settings: object) -> None:
        self.clock = Clock()
        self.observer = Observed()
        self.store = SqliteStore(folder / "state.db", 1e6, self.clock)
        fetcher = loopback_fetcher(port, **settings)
        self.webhooks = Webhooks(self.store, fetcher, HMAC_KEY, self.observer, self.clock)

    def end_job(self, url: str, job_id: str = A) -> None:
        self.store.add(new_job(job_id, photos=1, webhook_url=url))
        self.store.finish(job_id, 1, [an_output(job_id)], None)

    def send(self) -> str:
        """Send what is due and return the outcome."""
        before = len(self.observer.events)
        self.webhooks.work()
        wait_until(lambda: len(self.observer.events) > before)
        return self.observer.events[-1]


@pytest.fixture
def hooks() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each attempt more time than a busy machine needs."""
    monkeypatch.setattr(webhooks, "ATTEMPT_SECONDS", 300.0)
    for name in ("pinned_connection.CONNECT_SECONDS", "pinned_connection.READ_SECONDS", "url_fetcher.LOOKUP_SECONDS"):
        monkeypatch.setattr(f"app.fetch.{name}", 300.0)


@pytest.fixture
def sender(tmp_path: Path, hooks: Receiver) -> Iterator[Sender]:
    made = Sender(tmp_path, hooks.port)
    yield made
    made.webhooks.stop()
    made.store.close()


def test_the_signature_is_that_of_the_documentation() -> None:
    assert sign("secret", b"body") == "sha256=" + hmac.digest(b"secret", b"body", hashlib.sha256).hex()


def test_the_end_of_a_job_is_sent_with_a_valid_signature(sender: Sender, hooks: Receiver) -> None:
    sender.end_job(hooks.url("/hook?a=b"))
    assert sender.send() == "delivered"
    ((path, headers, body),) = hooks.requests
    assert path == "/hook?a=b"
    assert headers["Content-Type"] == "application/json"
    assert headers["X-Signature"] == f"sha256={hmac.digest(HMAC_KEY.encode(), body, 'sha256').hex()}"
    job = sender.store.job(A)
    assert job is not None
    assert json.loads(body) == describe(job) | {"timestamp": int(sender.clock.now)}
    sender.clock.now += 7000
    sender.webhooks.work()
    assert sender.observer.events == ["delivered"]


def test_the_body_does_not_grow_with_the_number_of_photos(sender: Sender, hooks: Receiver) -> None:
    failed = NewItem("photo.jpg", error=ItemError.of(CorruptImage()))
    sender.store.add(new_job(A, items=(failed,) * 1000, webhook_url=hooks.url()))
    assert sender.send() == "delivered"
    ((_, _, body),) = hooks.requests
    content = json.loads(body)
    assert len(body) < 1024
    assert "items" not in content
    assert (content["counts"]["failed"], content["links"]["self"]) == (1000, f"/jobs/{A}")


@pytest.mark.parametrize("status", [500, 404, 302, 199])
def test_any_answer_but_success_is_a_failure(sender: Sender, hooks: Receiver, status: int) -> None:
    hooks.statuses.append(status)
    sender.end_job(hooks.url())
    assert sender.send() == "retried"
    sender.clock.now += PAUSES[0]
    assert sender.send() == "delivered"
    assert len(hooks.requests) == 2


def test_attempts_go_on_for_an_hour_and_then_end(sender: Sender, hooks: Receiver) -> None:
    hooks.statuses += [503] * 20
    sender.end_job(hooks.url())
    begun = sender.clock.now
    for pause in PAUSES:
        assert sender.send() == "retried"
        sender.clock.now += pause - 1
        sender.webhooks.work()
        sender.clock.now += 1
    assert sender.send() == "abandoned"
    assert sender.clock.now - begun == 3600
    sender.clock.now += 86_400
    sender.webhooks.work()
    assert len(hooks.requests) == len(PAUSES) + 1


def test_each_attempt_has_its_own_time(sender: Sender, hooks: Receiver) -> None:
    hooks.statuses.append(500)
    sender.end_job(hooks.url())
    sender.send()
    sender.clock.now += PAUSES[0]
    sender.send()
    times = [json.loads(body)["timestamp"] for _, _, body in hooks.requests]
    assert times[1] - times[0] == PAUSES[0]


@pytest.mark.parametrize("url", ["http://10.0.0.1/", "http://other.example/", "http://hooks.example:9/", "ftp://x/"])
def test_an_address_that_is_not_allowed_gets_nothing(sender: Sender, hooks: Receiver, url: str) -> None:
    sender.end_job(url)
    assert sender.send() == "retried"
    assert hooks.requests == []


def test_addresses_that_are_not_public_get_nothing(tmp_path: Path, hooks: Receiver) -> None:
    sender = Sender(tmp_path, hooks.port)
    sender.webhooks = Webhooks(
        sender.store,
        UrlFetcher(Settings(), resolve=lambda _: ["127.0.0.1"]),
        HMAC_KEY,
        sender.observer,
        sender.clock,
    )
    sender.end_job("http://hooks.example/")
    assert sender.send() == "retried"
    assert hooks.requests == []
    sender.store.close()


def test_webhooks_do_not_need_the_fetching_of_images(tmp_path: Path, hooks: Receiver) -> None:
    sender = Sender(tmp_path, hooks.port, allow_url_fetch=False)
    sender.end_job(hooks.url())
    assert sender.send() == "delivered"
    sender.store.close()


def test_silent_receivers_do_not_delay_the_others(sender: Sender, hooks: Receiver) -> None:
    hooks.silent.add("/silent")
    for number in range(MAX_CONCURRENT - 1):
        sender.end_job(hooks.url("/silent"), f"{number:032x}")
    sender.webhooks.work()
    wait_until(lambda: len(hooks.requests) == MAX_CONCURRENT - 1)
    sender.end_job(hooks.url("/quick"))
    assert sender.send() == "delivered"
    hooks.over.set()
    wait_until(lambda: sender.observer.events.count("retried") == MAX_CONCURRENT - 1)


def test_first_attempts_go_before_repeated_ones(sender: Sender, hooks: Receiver) -> None:
    hooks.statuses.append(500)
    sender.end_job(hooks.url("/first"))
    sender.send()
    sender.clock.now += PAUSES[0]
    sender.end_job(hooks.url("/second"), "b" * 32)
    delivery = sender.store.take_delivery(sender.clock.now, 60)
    assert delivery is not None
    assert delivery.url.endswith("/second")


def test_an_attempt_whose_process_ended_is_repeated(sender: Sender, hooks: Receiver) -> None:
    sender.end_job(hooks.url())
    assert sender.store.take_delivery(sender.clock.now, LEASE_SECONDS) is not None
    sender.clock.now += LEASE_SECONDS
    assert sender.send() == "delivered"


def test_the_thread_sends_what_becomes_due(sender: Sender, hooks: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Webhooks, "seconds", 0.01)
    sender.webhooks.start()
    sender.end_job(hooks.url())
    wait_until(lambda: sender.observer.events == ["delivered"])
