"""Metrics of one process, and the folder that several share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from app.engine.observer import RestartReason
from app.engine.pool import EnginePool
from app.engine.queue import RemovalQueue
from app.engine.submission import Deadline
from app.errors import EngineCrashed, QueueFull
from app.observability import multiproc
from app.observability.metrics import METRICS, PREFIX, Metrics
from app.observability.sampler import MetricsSampler
from app.removal import RemovalOptions, RemovalRequest
from app.settings import Settings
from tests.support.configuration import ENGINE
from tests.support.doubles import FakePool, failing
from tests.support.metric_samples import samples
from tests.support.photos import jpeg
from tests.support.waiting import wait_until

URL = "/remove-background"


@pytest.fixture
def values(fast_client: FlaskClient) -> Callable[[], dict[str, float]]:
    return lambda: samples(fast_client.get("/metrics").text)


Values = Callable[[], dict[str, float]]


def test_every_metric_is_there_from_the_start_or_once_it_has_a_label(fast_client: FlaskClient) -> None:
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
def test_what_a_client_makes_up_is_no_label(method: str, label: str, fast_client: FlaskClient, values: Values) -> None:
    for number in range(3):
        fast_client.open(f"/nowhere/{number}", method=method)
    assert values()[f"requests_total,endpoint=unmatched,method={label},status=404"] == 3


def test_a_photo_is_measured(fast_client: FlaskClient, values: Values, fake_pool: FakePool) -> None:
    request = RemovalRequest(b"x" * 70, RemovalOptions("lite", 100))
    result = replace(fake_pool.submit(request, Deadline.after(0)), input_size=(2000, 1000))
    fake_pool.observer.removed(request, result)
    found = values()
    assert found["stage_duration_seconds_sum,stage=infer"] == 0.002
    assert found["input_megapixels_sum"] == 2
    assert (found["output_bytes_sum"], found["compression_ratio_sum"]) == (7, 10)


@pytest.mark.parametrize(("failure", "reason"), [(QueueFull(), "QUEUE_FULL"), (EngineCrashed(), None)])
def test_rejections_have_the_code_of_their_error(
    failure: Exception, reason: str | None, fast_client: FlaskClient, values: Values, fake_pool: FakePool
) -> None:
    failing(fake_pool, failure)
    fast_client.post(URL, data=jpeg())
    rejected = {name: value for name, value in values().items() if name.startswith("rejected_total,")}
    assert rejected == ({f"rejected_total,reason={reason}": 1} if reason else {})


def test_gauges_show_now(values: Values, fake_pool: FakePool) -> None:
    inside = ExitStack()
    for number in range(3):
        inside.enter_context(fake_pool.queue.admit(number, Deadline.after(60)))
    fake_pool.observer.memory_seen(0, 100)
    fake_pool.observer.memory_seen(1, 50)
    fake_pool.observer.memory_seen(0, 0)
    with inside:
        found = values()
    assert (found["queue_depth"], found["inflight"], found["ratelimit_storage_up"]) == (3, 0, 1)
    assert found["engine_memory_bytes"] == 50 << 20


def test_storage_that_is_away_is_zero(fake_pool: FakePool) -> None:
    metrics = Metrics(Settings())
    MetricsSampler(metrics, Settings(), fake_pool, storage_up=lambda: False).sample()
    assert samples(metrics.exposition().decode())["ratelimit_storage_up"] == 0


def test_the_model_is_named_with_its_checksum(fake_pool: FakePool) -> None:
    metrics = Metrics(Settings())
    sampler = MetricsSampler(metrics, Settings(), fake_pool)
    sampler.start()
    wait_until(lambda: b"model_info{" in metrics.exposition())
    sampler.stop()
    (name,) = [name for name in samples(metrics.exposition().decode()) if name.startswith("model_info")]
    digest = subprocess.run(["sha256sum", "app/engine/weights/lite.onnx"], capture_output=True, check=True, text=True)
    assert name == f"model_info,name=lite,provider=CPUExecutionProvider,sha256={digest.stdout.split()[0]}"


def test_a_failure_to_count_fails_no_request(
    fast_client: FlaskClient, fake_pool: FakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake_pool.observer, "_counters", {})
    assert fast_client.get("/health/live").status_code == 200
    fake_pool.observer.replaced(RestartReason.CRASHED)


class Listener(Metrics):
    """Remember what a pool tells."""

    def __init__(self) -> None:
        self.told: list[RestartReason] = []
        self.megabytes: list[int] = []

    def replaced(self, reason: RestartReason) -> None:
        self.told.append(reason)

    def memory_seen(self, engine: int, megabytes: int) -> None:
        self.megabytes.append(megabytes)

    def removed(self, *_: object) -> None:
        """Ignore it."""


def test_a_pool_tells_why_an_engine_is_replaced() -> None:
    listener = Listener()
    pool = EnginePool(replace(ENGINE, max_tasks=1), 1, RemovalQueue(capacity=2, body_slots=2), listener)
    try:
        pool.submit(RemovalRequest(jpeg("coffee"), RemovalOptions("lite", 300)), Deadline.after(30))
        wait_until(lambda: listener.told == [RestartReason.TASKS] and pool.status().ready)
        os.kill(pool.status().pids[0], 9)
        wait_until(lambda: listener.told == [RestartReason.TASKS, RestartReason.KILLED])
        wait_until(lambda: pool.status().ready)
        os.kill(pool.status().pids[0], 11)
        wait_until(lambda: listener.told[2:] == [RestartReason.CRASHED])
    finally:
        pool.stop()
    assert len(listener.told) == 3  # an engine that is ended with its pool is not replaced
    assert max(listener.megabytes) > 20 and listener.megabytes[-1] == 0


# What follows needs PROMETHEUS_MULTIPROC_DIR before prometheus_client is imported: processes of their own.

WORKER = """
import sys
from app.observability.metrics import Metrics
from app.engine.observer import RestartReason
from app.settings import Settings
metrics = Metrics(Settings())
metrics.set_state(2, storage_up=True)
metrics.memory_seen(0, 10)
for _ in range(int(sys.argv[1])):
    metrics.replaced(RestartReason.CRASHED)
    metrics._histograms["output_bytes"].observe(20_000)
metrics.exposition()
print(flush=True)
sys.stdin.read()
"""
CRASHES = "engine_restarts_total,reason=crashed"


class Worker:
    """A process that counts, and lives until it is told to die."""

    def __init__(self, folder: Path, count: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(count)],
            env=os.environ | {multiproc.FOLDER_VARIABLE: str(folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout
        self.process.stdout.readline()

    def die(self) -> int:
        self.process.kill()
        self.process.communicate()
        return self.process.pid


def mark_dead(folder: Path, pid: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(multiproc.FOLDER_VARIABLE, str(folder))
        multiproc.mark_dead(pid)


def shared(folder: Path) -> dict[str, float]:
    return samples(multiproc.exposition(folder).decode())


def test_workers_add_up_and_what_the_dead_have_counted_stays(tmp_path: Path) -> None:
    first, second = Worker(tmp_path, 3), Worker(tmp_path, 4)
    both = shared(tmp_path)
    assert (both[CRASHES], both["output_bytes_count"], both["queue_depth"]) == (7, 7, 4)
    mark_dead(tmp_path, first.die())
    one = shared(tmp_path)
    assert (one[CRASHES], one["output_bytes_count"], one["output_bytes_bucket,le=30000.0"]) == (7, 7, 7)
    assert (one["queue_depth"], one["engine_memory_bytes"], one["ratelimit_storage_up"]) == (2, 10 << 20, 1)
    mark_dead(tmp_path, second.die())
    none = shared(tmp_path)
    assert none[CRASHES] == 7 and "queue_depth" not in none
    assert {file.name.split("_")[0] for file in tmp_path.glob("*.db")} == {"counter", "histogram"}


def test_a_file_that_was_cut_off_costs_nothing_but_itself(tmp_path: Path) -> None:
    worker = Worker(tmp_path, 2)
    (tmp_path / "counter_99999.db").touch()
    assert shared(tmp_path)[CRASHES] == 2
    mark_dead(tmp_path, 99999)
    mark_dead(tmp_path, worker.die())
    assert shared(tmp_path)[CRASHES] == 2


def test_a_dead_worker_s_files_are_small(tmp_path: Path) -> None:
    mark_dead(tmp_path, Worker(tmp_path, 3).die())
    assert sum(file.stat().st_blocks * 512 for file in tmp_path.glob("*.db")) <= 100_000


def test_a_missing_folder_costs_nothing(tmp_path: Path) -> None:
    mark_dead(tmp_path / "missing", 99999)


PREPARE = "from app.observability import multiproc\nprint(multiproc.prepare(), flush=True)\ninput()"


def prepared(**environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PREPARE],
        env=os.environ | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def folder_of(process: subprocess.Popen[str]) -> Path:
    assert process.stdout
    return Path(process.stdout.readline().strip())


def test_each_server_has_a_folder_of_its_own_and_removes_it() -> None:
    processes = [prepared(), prepared()]
    folders = [folder_of(process) for process in processes]
    assert len(set(folders)) == 2 and all(folder.is_dir() for folder in folders)
    for process in processes:
        process.communicate("\n")
    assert not any(folder.exists() for folder in folders)


def test_the_folder_of_a_killed_server_is_removed_by_the_next_that_of_a_living_one_is_not() -> None:
    killed, living = prepared(), prepared()
    left, kept = folder_of(killed), folder_of(living)
    killed.kill()
    killed.communicate()
    for folder in (left, kept):
        os.utime(folder, (1, 1))
    following = prepared()
    folder_of(following)
    assert (left.exists(), kept.exists()) == (False, True)
    for process in (living, following):
        process.communicate("\n")


def test_a_folder_of_the_operator_is_emptied_of_metrics_alone_and_stays(tmp_path: Path) -> None:
    for name in ("counter_1.db", "notes.txt"):
        (tmp_path / name).touch()
    process = prepared(**{multiproc.FOLDER_VARIABLE: str(tmp_path)})
    assert folder_of(process) == tmp_path
    process.communicate("\n")
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]
