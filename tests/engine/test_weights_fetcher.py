"""Download of missing weights at start, with retries."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from app.engine import weights_fetcher
from app.engine.models import REGISTRY
from app.engine.weights_fetcher import WeightsFetcher
from tests.support.onnx_models import write_model
from tests.support.waiting import wait_until


def test_the_embedded_model_is_not_fetched() -> None:
    WeightsFetcher(["lite"], pull=lambda name: pytest.fail("it must not fetch")).start()


def test_a_failed_fetch_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights_fetcher, "FIRST_WAIT", 0.01)
    attempts: list[str] = []
    done = threading.Event()

    def pull(name: str) -> int:
        attempts.append(name)
        if len(attempts) < 3:
            return 1
        write_model(REGISTRY[name], tmp_path)
        done.set()
        return 0

    WeightsFetcher(["lite", "silueta"], str(tmp_path), pull).start()
    assert done.wait(120)
    wait_until(lambda: not any(thread.name == "weights-fetcher" for thread in threading.enumerate()))
    assert attempts == ["silueta"] * 3
