"""Metrics of one process."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from app.engine.observer import RestartReason
from app.engine.pool import EnginePool
from app.engine.queue import RemovalQueue
from app.engine.submission import Deadline
from app.errors import EngineCrashed, QueueFull
from app.observability.metrics import METRICS, PREFIX, Metrics
from app.removal import RemovalOptions, RemovalRequest
from app.settings import Settings
from tests.support.configuration import ENGINE
from tests.support.doubles import FakePool, Recorder, failing
from tests.support.metric_samples import samples
from tests.support.photos import jpeg
from tests.support.waiting import wait_until

URL = "/remove-background"


@pytest.fixture
def values(fast_client: FlaskClient) -> Callable[[], dict[str, float]]:
    return lambda: samples(fast_client.get("/metrics").text)


Values = Callable[[], dict[str, float]]


def test_exactly_the_metrics_of_the_table_are_exposed(fast_client: FlaskClient) -> None:
    families = {family.name for family in text_string_to_metric_families(fast_client.get("/metrics").text)}
    assert {name for name in families if not name.endswith("_created")} == {
        PREFIX + metric.name.removesuffix("_total") for metric in METRICS
    }


def test_requests_are_counted_by_endpoint_and_status(fast_client: FlaskClient, values: Values) -> None:
    fast_client.post(URL, data=jpeg())
    fast_client.get("/health")
    found = values()
    assert found["requests_total,endpoint=native.remove_background,method=POST,status=200"] == 1
    assert found["requests_total,endpoint=health.health,method=GET,status=200"] == 1
    assert found["request_duration_seconds_count,endpoint=native.remove_background"] == 1


@pytest.mark.parametrize(("method", "label"), [("GET", "GET"), ("BREW", "other")])
def test_unknown_paths_and_methods_do_not_become_labels(
    method: str, label: str, fast_client: FlaskClient, values: Values
) -> None:
    for number in range(3):
        fast_client.open(f"/nowhere/{number}", method=method)
    assert values()[f"requests_total,endpoint=unmatched,method={label},status=404"] == 3


def test_a_photo_is_counted_by_stages_and_sizes(fast_client: FlaskClient, values: Values, fake_pool: FakePool) -> None:
    request = RemovalRequest(b"x" * 70, RemovalOptions("lite", 100))
    result = replace(fake_pool.submit(request, Deadline.after(0)), input_size=(2000, 1000))
    fake_pool.observer.removed(request, result)
    found = values()
    assert found["stage_duration_seconds_sum,stage=infer"] == 0.002
    assert found["input_megapixels_sum"] == 2
    assert (found["output_bytes_sum"], found["compression_ratio_sum"]) == (7, 10)


@pytest.mark.parametrize(
    ("model", "change", "outcome"),
    [
        ("auto", {}, "sure"),
        ("auto", {"model": "lite+u2netp"}, "unsure"),
        ("auto", {"under_load": True}, "load"),
        ("lite", {}, None),
    ],
)
def test_photos_of_auto_are_counted_by_outcome(
    model: str, change: dict[str, Any], outcome: str | None, values: Values, fake_pool: FakePool
) -> None:
    request = RemovalRequest(b"x" * 70, RemovalOptions(model, 100))
    fake_pool.observer.removed(request, replace(fake_pool.submit(request, Deadline.after(0)), **change))
    found = values()
    outcomes = {name: found[f"auto_photos_total,outcome={name}"] for name in ("sure", "unsure", "load")}
    assert outcomes == dict.fromkeys(outcomes, 0) | ({outcome: 1} if outcome else {})


def test_events_of_jobs_are_counted() -> None:
    metrics = Metrics(Settings(webhook_secret=SecretStr("secret")))
    metrics.job_accepted()
    metrics.job_photo_finished("failed")
    metrics.webhook_sent("retried")
    metrics.set_jobs(7, 12.5, 3)
    lines = metrics.exposition().decode().splitlines()
    assert {
        "bg_remover_jobs_total 1.0",
        'bg_remover_job_photos_total{outcome="done"} 0.0',
        'bg_remover_job_photos_total{outcome="failed"} 1.0',
        'bg_remover_webhooks_total{outcome="delivered"} 0.0',
        'bg_remover_webhooks_total{outcome="retried"} 1.0',
        "bg_remover_job_queue_depth 7.0",
        "bg_remover_job_oldest_seconds 12.5",
        "bg_remover_job_workers 3.0",
    } <= set(lines)


@pytest.mark.parametrize(("failure", "reason"), [(QueueFull(), "QUEUE_FULL"), (EngineCrashed(), None)])
def test_a_rejection_is_counted_by_its_error_code(
    failure: Exception, reason: str | None, fast_client: FlaskClient, values: Values, fake_pool: FakePool
) -> None:
    failing(fake_pool, failure)
    fast_client.post(URL, data=jpeg())
    rejected = {name: value for name, value in values().items() if name.startswith("rejected_total,")}
    assert rejected == ({f"rejected_total,reason={reason}": 1} if reason else {})


def test_gauges_show_the_current_state(values: Values, fake_pool: FakePool) -> None:
    admitted = ExitStack()
    for number in range(3):
        admitted.enter_context(fake_pool.queue.admit(number, Deadline.after(60)))
    fake_pool.observer.memory_seen(0, 100)
    fake_pool.observer.memory_seen(1, 50)
    fake_pool.observer.memory_seen(0, 0)
    with admitted:
        found = values()
    assert (found["queue_depth"], found["inflight"], found["ratelimit_storage_up"]) == (3, 0, 1)
    assert found["engine_memory_bytes"] == 50 << 20


def test_an_error_in_a_metric_fails_no_request(
    fast_client: FlaskClient, fake_pool: FakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake_pool.observer, "_counters", {})
    assert fast_client.get("/health/live").status_code == 200
    fake_pool.observer.replaced(RestartReason.CRASHED)


def test_a_pool_reports_why_an_engine_is_replaced() -> None:
    recorder = Recorder()
    pool = EnginePool(replace(ENGINE, max_tasks=1), 1, RemovalQueue(capacity=2, body_slots=2), recorder)
    used = [0]

    def next_engine() -> int:
        """Return the process id of a ready engine; the reason of its replacement is reported before it ends."""
        wait_until(lambda: (status := pool.status()).ready and not {*used} & {*status.pids})
        used.extend(pool.status().pids)
        return used[-1]

    try:
        pool.start()
        next_engine()
        pool.submit(RemovalRequest(jpeg("coffee"), RemovalOptions("lite", 300)), Deadline.after(300))
        os.kill(next_engine(), signal.SIGKILL)
        os.kill(next_engine(), signal.SIGSEGV)
        wait_until(lambda: len(recorder.reasons) == 3)
    finally:
        pool.stop()
    wait_until(lambda: recorder.megabytes[-1] == 0)
    # An engine that ends with its pool is not replaced.
    assert recorder.reasons == [RestartReason.TASKS, RestartReason.KILLED, RestartReason.CRASHED]
    assert max(recorder.megabytes) > 20
