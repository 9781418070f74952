"""Samples of the current state, and the model in use."""

from __future__ import annotations

import subprocess

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


def test_the_model_is_published_with_its_checksum(fake_pool: FakePool) -> None:
    metrics = Metrics(Settings())
    sampler = MetricsSampler(metrics, Settings(), fake_pool)
    sampler.start()
    wait_until(lambda: b"model_info{" in metrics.exposition())
    sampler.stop()
    (name,) = [name for name in samples(metrics.exposition().decode()) if name.startswith("model_info")]
    digest = subprocess.run(["sha256sum", "app/engine/weights/lite.onnx"], capture_output=True, check=True, text=True)
    assert name == f"model_info,name=lite,provider=CPUExecutionProvider,sha256={digest.stdout.split()[0]}"
