"""Metrics of a real gunicorn: sums over two workers, and counts of a dead worker."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.support.metric_samples import samples
from tests.support.photos import jpeg
from tests.support.service import Post, Service
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

URL = "/remove-background"
PHOTOS = "requests_total,endpoint=native.remove_background,method=POST,status=200"
Start = Callable[..., Service]


def measured(service: Service) -> dict[str, float]:
    answer = service.request("/metrics")
    assert answer.status == 200
    return samples(answer.body.decode())


def workers(service: Service) -> list[psutil.Process]:
    return psutil.Process(service.process.pid).children()


def pids(folder: Path, kind: str) -> set[int]:
    """Return the processes with files of a kind: counter, gauge or histogram."""
    return {int(file.stem.rpartition("_")[2]) for file in folder.glob(f"{kind}_*.db")}


def all_ready(service: Service, engines: int) -> bool:
    """Return whether every engine of every worker is idle with its model."""
    return service.log.read_text().count("started: model=auto ready=True") >= engines


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "counts"


@pytest.fixture
def duo(start: Start, folder: Path) -> Service:
    """Two workers of one engine each, with a metrics folder that has old files."""
    folder.mkdir()
    (folder / "counter_1.db").write_bytes(b"left over")
    service = start(
        WEB_CONCURRENCY=2,
        ENGINE_PROCESSES=1,
        PROMETHEUS_MULTIPROC_DIR=folder,
    )
    wait_until(lambda: all_ready(service, 2))
    return service


def post_photos(service: Service, folder: Path, count: int = 12) -> None:
    """Post photos in parallel on separate connections, so that both workers get some."""
    for post in [Post(service, URL, jpeg("coffee")) for _ in range(count)]:
        assert post.result().status == 200


def test_two_workers_add_up(duo: Service, folder: Path) -> None:
    post_photos(duo, folder)
    wait_until(lambda: sum(name.startswith("model_info") for name in measured(duo)) == 2)  # lite and u2netp
    # A request is counted, and no longer in flight, only after its answer.
    wait_until(lambda: (found := measured(duo))[PHOTOS] == 12 and found["inflight"] == 0)
    wait_until(lambda: pids(folder, "counter") == {worker.pid for worker in workers(duo)})
    found = measured(duo)
    assert [found[f"stage_duration_seconds_count,stage={name}"] for name in ("queue", "decode", "infer")] == [12] * 3
    assert (found["input_megapixels_count"], found["compression_ratio_count"], found["output_bytes_count"]) == (12,) * 3
    assert (found["ratelimit_storage_up"], found["inflight"]) == (1, 0)
    assert sum(name.startswith("model_info") for name in found) == 2
    # Two engines of about 100 MB: more than one alone.
    assert found["engine_memory_bytes"] > 130 << 20
    wait_until(lambda: measured(duo)["queue_depth"] == 0)  # the other worker updates it every second


def replace_a_worker(service: Service, folder: Path) -> None:
    """Kill a worker, and wait until it is replaced and its gauges are removed."""
    killed = workers(service)[0]
    killed.kill()
    wait_until(lambda: len(workers(service)) == 2 and killed not in workers(service))
    wait_until(lambda: pids(folder, "gauge") == {worker.pid for worker in workers(service)})


def test_a_dead_workers_counts_are_kept_and_its_gauges_removed(duo: Service, folder: Path) -> None:
    post_photos(duo, folder)
    wait_until(lambda: measured(duo)[PHOTOS] == 12)
    for _ in range(3):
        replace_a_worker(duo, folder)
    assert measured(duo)[PHOTOS] == 12
    wait_until(lambda: len(pids(folder, "counter")) == 2 + 3)  # including the dead ones
    wait_until(lambda: 130 << 20 < measured(duo)["engine_memory_bytes"] < 400 << 20)  # of two engines, not of five
    assert measured(duo)["ratelimit_storage_up"] == 1


def test_engines_are_counted_when_they_are_replaced_and_metrics_answer_in_a_full_queue(start: Start) -> None:
    service = start(ENGINE_PROCESSES=1, QUEUE_SIZE=1, ENGINE_MAX_TASKS=1)
    (folder,) = {Path(child.environ()["PROMETHEUS_MULTIPROC_DIR"]) for child in service.engines()}
    assert folder.is_dir()
    assert service.request(URL, jpeg("coffee")).status == 200
    wait_until(lambda: measured(service)["engine_restarts_total,reason=tasks"] == 1)
    wait_until(service.healthy)
    service.engines()[0].kill()
    wait_until(lambda: measured(service)["engine_restarts_total,reason=killed"] == 1)
    wait_until(service.healthy)
    (engine,) = service.engines()
    engine.suspend()
    posts = [Post(service, URL, jpeg("coffee")) for _ in range(2)]
    wait_until(lambda: service.received() == 3)
    assert service.request(URL, jpeg("coffee")).json["code"] == "QUEUE_FULL"
    # The refused request is in flight until after its answer.
    wait_until(lambda: (found := measured(service))["inflight"] == 2 and found["queue_depth"] == 1)
    assert measured(service)["rejected_total,reason=QUEUE_FULL"] == 1
    engine.resume()
    assert {post.result().status for post in posts} == {200}
    wait_until(service.healthy)
    assert measured(service)["engine_restarts_total,reason=start"] == 0
    assert service.stop() == 0
    assert not folder.exists()


def test_an_engine_that_is_replaced_at_the_deadline_is_counted(start: Start) -> None:
    service = start(ENGINE_PROCESSES=1, REQUEST_TIMEOUT=4)
    (engine,) = service.engines()
    engine.suspend()
    assert service.request(URL, jpeg("coffee")).status == 504
    wait_until(lambda: measured(service)["engine_restarts_total,reason=deadline"] == 1)


def test_two_services_on_one_machine_do_not_mix(start: Start) -> None:
    first, second = start(ENGINE_PROCESSES=1), start(ENGINE_PROCESSES=1)
    assert first.request(URL, jpeg("coffee")).status == 200
    wait_until(lambda: measured(first).get(PHOTOS) == 1)
    assert PHOTOS not in measured(second)


def test_only_allowed_addresses_read_metrics(start: Start) -> None:
    service = start(ENGINE_PROCESSES=1, METRICS_ALLOWED_IPS="10.0.0.0/8")
    answer = service.request("/metrics")
    assert (answer.status, answer.json["code"]) == (403, "FORBIDDEN")
    assert "PROMETHEUS_MULTIPROC_DIR" not in os.environ
