"""Metrics of a real gunicorn: two workers add up, the dead stay counted, and METRICS_PORT serves the same."""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.conftest import jpeg, wait_until
from tests.integration.conftest import Post, Service, free_port, gone
from tests.observability.test_metrics import samples

pytestmark = pytest.mark.integration

URL = "/remove-background"
PHOTOS = "requests_total,endpoint=native.remove_background,method=POST,status=200"
Start = Callable[..., Service]


def measured(service: Service) -> dict[str, float]:
    answer = service.request("/metrics")
    assert answer.status == 200
    return samples(answer.body.decode())


def from_port(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return samples(answer.read().decode())


def children(service: Service, *, metrics: bool = False) -> list[psutil.Process]:
    """Return the web workers, or else the process behind METRICS_PORT."""
    found = []
    for child in psutil.Process(service.process.pid).children():
        with suppress(psutil.NoSuchProcess):  # ended meanwhile, or not yet reaped
            if ("app.http.metrics_server" in child.cmdline()) == metrics:
                found.append(child)
    return found


def counted_by_each(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.glob("counter_*.db"))


def files(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def all_ready(service: Service, engines: int) -> bool:
    """Tell whether every engine of every worker has been seen idle with its model."""
    return service.log.read_text().count("started: model=lite ready=True") >= engines


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "counts"


@pytest.fixture
def duo(start: Start, folder: Path) -> Service:
    """Two workers of one engine each, counting in a folder that was left full."""
    folder.mkdir()
    (folder / "counter_1.db").write_bytes(b"left over")
    service = start(
        WEB_CONCURRENCY=2,
        ENGINE_PROCESSES=1,
        METRICS_PORT=free_port(),
        PROMETHEUS_MULTIPROC_DIR=folder,
    )
    wait_until(lambda: all_ready(service, 2))
    return service


def metrics_port(service: Service) -> int:
    (process,) = children(service, metrics=True)
    return int(process.environ()["METRICS_PORT"])


def post_photos(service: Service, folder: Path, count: int = 12) -> None:
    """Post photos on connections of their own, at the same time, so that both workers get some."""
    for post in [Post(service, URL, jpeg("coffee")) for _ in range(count)]:
        assert post.result().status == 200


def test_two_workers_add_up(duo: Service, folder: Path) -> None:
    post_photos(duo, folder)
    wait_until(lambda: any(name.startswith("model_info") for name in measured(duo)))
    found = measured(duo)
    assert found[PHOTOS] == 12
    assert [found[f"stage_duration_seconds_count,stage={name}"] for name in ("queue", "decode", "infer")] == [12] * 3
    assert (found["input_megapixels_count"], found["compression_ratio_count"], found["output_bytes_count"]) == (12,) * 3
    assert (found["ratelimit_storage_up"], found["inflight"]) == (1, 0)
    assert sum(name.startswith("model_info") for name in found) == 1
    # Two engines of some 100 MB: one alone would have less.
    assert found["engine_memory_bytes"] > 130 << 20
    assert "counter_1.db" not in counted_by_each(folder) and len(counted_by_each(folder)) == 2
    wait_until(lambda: measured(duo)["queue_depth"] == 0)  # the other worker looks every second


def replace_a_worker(service: Service, folder: Path) -> None:
    """Kill a worker, and wait until another has taken its place and the dead one's counts are put away."""
    killed = children(service)[0]
    killed.kill()
    wait_until(lambda: len(children(service)) == 2 and killed not in children(service))
    wait_until(lambda: len(counted_by_each(folder)) == 3 and f"counter_{killed.pid}.db" not in counted_by_each(folder))


def test_a_workers_death_takes_no_counts_and_leaves_no_gauges(duo: Service, folder: Path) -> None:
    post_photos(duo, folder)
    for _ in range(3):
        replace_a_worker(duo, folder)
    assert measured(duo)[PHOTOS] == 12
    living = {str(worker.pid) for worker in children(duo)}
    kept = {name for name in files(folder) if name.endswith(".db")}
    assert {name.removesuffix(".db").rsplit("_", 1)[1] for name in kept} == living | {"dead"}
    wait_until(lambda: 130 << 20 < measured(duo)["engine_memory_bytes"] < 400 << 20)  # of two engines, not of five
    assert measured(duo)["ratelimit_storage_up"] == 1


def test_a_port_of_its_own_serves_the_same(duo: Service, folder: Path) -> None:
    post_photos(duo, folder, 4)
    port = metrics_port(duo)
    assert from_port(port)[PHOTOS] == 4
    assert not [name for name in files(folder) if str(children(duo, metrics=True)[0].pid) in name]


def test_it_is_started_again_when_it_dies_and_ends_with_the_service(duo: Service) -> None:
    port = metrics_port(duo)
    (process,) = children(duo, metrics=True)
    process.kill()
    wait_until(lambda: [child for child in children(duo, metrics=True) if child.pid != process.pid])
    wait_until(lambda: answers(port))
    (process,) = children(duo, metrics=True)
    assert duo.stop() == 0
    assert gone([process], seconds=2)


def answers(port: int) -> bool:
    try:
        return bool(from_port(port))
    except OSError:
        return False


def test_it_does_not_outlive_a_master_that_is_killed(duo: Service) -> None:
    wait_until(lambda: answers(metrics_port(duo)))
    tree = duo.tree()
    duo.process.kill()
    duo.process.wait()
    assert gone(tree, seconds=20)


def test_engines_are_counted_when_they_are_replaced_and_metrics_answer_in_a_full_queue(start: Start) -> None:
    service = start(ENGINE_PROCESSES=1, QUEUE_SIZE=1, REQUEST_TIMEOUT=4, ENGINE_MAX_TASKS=1)
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
    found = measured(service)
    assert (found["queue_depth"], found["inflight"], found["rejected_total,reason=QUEUE_FULL"]) == (1, 2, 1)
    assert {post.result().status for post in posts} <= {200, 504}
    wait_until(lambda: measured(service)["engine_restarts_total,reason=deadline"] >= 1)
    wait_until(service.healthy)
    assert measured(service)["engine_restarts_total,reason=start"] == 0
    assert service.stop() == 0
    assert not folder.exists()


def test_two_services_on_one_machine_do_not_mix(start: Start) -> None:
    first, second = start(ENGINE_PROCESSES=1), start(ENGINE_PROCESSES=1)
    assert first.request(URL, jpeg("coffee")).status == 200
    assert measured(first)[PHOTOS] == 1
    assert PHOTOS not in measured(second)


def test_no_address_but_those_allowed(start: Start) -> None:
    service = start(ENGINE_PROCESSES=1, METRICS_ALLOWED_IPS="10.0.0.0/8")
    answer = service.request("/metrics")
    assert (answer.status, answer.json["code"]) == (403, "FORBIDDEN")
    assert "PROMETHEUS_MULTIPROC_DIR" not in os.environ
