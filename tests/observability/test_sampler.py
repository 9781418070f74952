"""Samples of the current state, and the model in use."""

from __future__ import annotations

import subprocess

import pytest

from app.observability import sampler
from app.observability.disk import DiskSpace
from app.observability.metrics import Metrics
from app.observability.sampler import MetricsSampler
from app.settings import Settings
from tests.support.doubles import FakePool
from tests.support.metric_samples import samples
from tests.support.waiting import wait_until


def test_an_unavailable_storage_is_zero(fake_pool: FakePool) -> None:
    metrics = Metrics(Settings())
    MetricsSampler(metrics, Settings(), fake_pool, storage_up=lambda: False).sample()
    assert samples(metrics.exposition().decode())["ratelimit_storage_up"] == 0


@pytest.mark.parametrize(("waiting", "depth"), [((7, 12.5, 1), 7), (None, 0)])
def test_waiting_photos_of_jobs(waiting: tuple[int, float, int] | None, depth: int, fake_pool: FakePool) -> None:
    metrics = Metrics(Settings())
    MetricsSampler(metrics, Settings(), fake_pool, jobs=lambda: waiting).sample()
    assert samples(metrics.exposition().decode())["job_queue_depth"] == depth


def test_cpu_time_and_disk_space(fake_pool: FakePool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampler, "least_space", lambda folders: DiskSpace(7, 100))
    metrics = Metrics(Settings())
    assert samples(metrics.exposition().decode())["disk_free_ratio"] == 1
    MetricsSampler(metrics, Settings(), fake_pool).sample()
    found = samples(metrics.exposition().decode())
    assert (found["disk_free_ratio"], found["cpu_seconds_total"] > 0) == (0.07, True)


def test_the_models_of_the_default_are_published_with_their_checksums(fake_pool: FakePool) -> None:
    metrics = Metrics(Settings())
    running = MetricsSampler(metrics, Settings(), fake_pool)
    running.start()
    wait_until(lambda: metrics.exposition().count(b"model_info{") == 2)
    running.stop()
    found = {name for name in samples(metrics.exposition().decode()) if name.startswith("model_info")}
    files = [f"app/engine/weights/{name}.onnx" for name in ("lite", "u2netp")]
    digests = subprocess.run(["sha256sum", *files], capture_output=True, check=True, text=True).stdout.split()[::2]
    assert found == {
        f"model_info,name={name},provider=CPUExecutionProvider,sha256={digest}"
        for name, digest in zip(("lite", "u2netp"), digests, strict=True)
    }
