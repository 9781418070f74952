"""Loop of an engine, in the test's process, with a fake session and a fake pipeline."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from app.engine import faults, wire, worker
from app.engine.memory import MemoryGuard
from app.engine.messages import (
    EXIT_MEMORY,
    EXIT_TASKS,
    EngineConfig,
    request_header,
    result_from_wire,
)
from app.engine.models import REGISTRY, ModelSpec
from app.engine.shared import SharedWork
from app.engine.worker import Engine
from app.errors import CorruptImage, ModelUnavailable
from app.removal import Box, RemovalOptions, RemovalRequest, RemovalResult

ROOT = Path(__file__).parent.parent.parent
CONFIG = EngineConfig("lite", 1, 1, 1, memory_mb=1 << 20, memory_warn_mb=1 << 20)
REQUEST = RemovalRequest(b"photo", RemovalOptions("lite", 100), b"background", "id-1")
RESULT = RemovalResult(b"body", "image/png", 3, 2, Box(1, 2, 3, 4), 0.5, "lite", {"infer": 1.5})

Message = tuple[dict[str, Any], list[bytes]]
WARM: Message = ({"op": "warm"}, [])


def remove(request: RemovalRequest = REQUEST, *, alone: bool = False, fast: bool = False) -> Message:
    return request_header(request) | {"alone": alone, "fast": fast}, [request.image, request.background_image]


class UnlimitedGuard(MemoryGuard):
    """A guard that sets no limit on the test's process."""

    def limit_growth(self) -> None:
        pass


class FakeSession:
    """Cache and session of a model, which is available unless `failures` are left."""

    model: ModelSpec = REGISTRY["lite"]
    provider = "CPUExecutionProvider"

    def __init__(self) -> None:
        self.failures: list[Exception] = []
        self.sizes: list[tuple[int, int]] = []

    def get(self, name: str) -> FakeSession:
        if self.failures:
            raise self.failures.pop(0)
        return self

    def predict(self, image: Image.Image) -> None:
        self.sizes.append(image.size)


class FakePipeline:
    """Pipeline that records requests and raises its failures first."""

    def __init__(self) -> None:
        self.failures: list[Exception] = []
        self.runs: list[tuple[RemovalRequest, bool]] = []
        self.fast: list[bool] = []
        self.shared: list[SharedWork | None] = []

    def order(self, requests: Sequence[RemovalRequest]) -> list[int]:
        """Return the reverse order."""
        return list(reversed(range(len(requests))))

    def run(self, request: RemovalRequest, shared: SharedWork | None, *, alone: bool, fast: bool) -> RemovalResult:
        self.runs.append((request, alone))
        self.shared.append(shared)
        self.fast.append(fast)
        if self.failures:
            raise self.failures.pop(0)
        return RESULT


class Harness:
    """An engine with a fake session and a fake pipeline."""

    def __init__(self) -> None:
        self.session = FakeSession()
        self.pipeline = FakePipeline()
        self.memory_given_back = 0

    def give_back_memory(self) -> None:
        self.memory_given_back += 1

    def serve(self, *messages: Message, config: EngineConfig = CONFIG) -> tuple[list[Message], int | None]:
        """Serve messages and the end of file after them; return the answers and the exit status, if any."""
        ours, theirs = socket.socketpair()
        with ours:
            for message in messages:
                wire.send(ours, *message)
            ours.shutdown(socket.SHUT_WR)
            with theirs:
                status = self._run(Engine(config, theirs))
            return list(received(ours)), status

    @staticmethod
    def _run(engine: Engine) -> int | None:
        try:
            engine.serve()
        except SystemExit as end:
            return int(end.code or 0)
        return None


def received(sock: socket.socket) -> Iterator[Message]:
    while True:
        try:
            yield wire.receive(sock)
        except (EOFError, ConnectionError):  # reset, when the engine has left messages unread
            return


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Harness:
    harness = Harness()
    monkeypatch.setattr(worker, "MemoryGuard", UnlimitedGuard)
    monkeypatch.setattr(worker, "SessionCache", lambda *_, **__: harness.session)
    monkeypatch.setattr(worker, "Pipeline", lambda *_: harness.pipeline)
    monkeypatch.setattr(worker, "give_back_memory", harness.give_back_memory)
    monkeypatch.setattr("app.engine.worker.gc.freeze", lambda: None)
    return harness


def outcome_number(answer: Message) -> int:
    return int(answer[0].pop("number"))


def headers(answers: list[Message]) -> list[dict[str, Any]]:
    return [header for header, _ in answers]


# Warm-up


def test_an_engine_is_ready_after_an_inference(engine: Harness) -> None:
    answers, status = engine.serve()
    ((header, blobs),) = answers
    assert header.pop("rss_mb") > 0
    assert header == {"ready": True, "model": "lite", "provider": "CPUExecutionProvider"}
    assert (blobs, status) == ([], None)
    assert engine.session.sizes == [(320, 320)]


def test_an_engine_without_its_model_reports_the_error_until_it_is_available(engine: Harness) -> None:
    engine.session.failures += [ModelUnavailable("no weights", solution="pull"), ModelUnavailable("broken")]
    first, second, third = headers(engine.serve(WARM, WARM)[0])
    error = {"code": "MODEL_UNAVAILABLE", "message": "no weights", "details": "", "solution": "pull"}
    assert first == {"ready": False, "error": error}
    assert (second["ready"], second["error"]["message"]) == (False, "broken")
    assert third["ready"] is True


# Requests


@pytest.mark.parametrize("alone", [True, False])
def test_a_request_is_accepted_and_answered(alone: bool, engine: Harness) -> None:
    (_, accepted, answer), _ = engine.serve(remove(alone=alone))
    assert accepted == ({"accepted": True}, [])
    assert outcome_number(answer) == 0 and result_from_wire(*answer) == RESULT
    assert engine.pipeline.runs == [(REQUEST, alone)] and engine.pipeline.shared == [None]


@pytest.mark.parametrize(
    ("failure", "code", "message"),
    [
        (CorruptImage("cut short"), "CORRUPT_IMAGE", "cut short"),
        (MemoryError(), "OUT_OF_MEMORY", "Image too large"),
        (RuntimeError("std::bad_alloc"), "OUT_OF_MEMORY", "Image too large"),
        (RuntimeError("/secret/path"), "INTERNAL", "An internal error occurred."),
    ],
)
def test_a_failure_is_an_error_and_the_engine_continues(
    failure: Exception, code: str, message: str, engine: Harness
) -> None:
    engine.pipeline.failures.append(failure)
    _, _, failed, _, answered = engine.serve(remove(), remove())[0]
    error = failed[0]["error"]
    assert failed[1] == [] and set(error) == {"code", "message", "details", "solution"}
    assert error["code"] == code and error["message"].startswith(message)
    assert "/secret/path" not in str(error)
    assert outcome_number(answered) == 0 and result_from_wire(*answered) == RESULT


def test_each_result_is_sent_when_it_is_finished_and_an_error_is_that_of_one_result(engine: Harness) -> None:
    options = [replace(REQUEST.options, longest_side=side) for side in (200, 300)]
    engine.pipeline.failures.append(CorruptImage())
    (_, accepted, *answers), _ = engine.serve(remove(replace(REQUEST, more_options=tuple(options))))
    assert accepted == ({"accepted": True}, [])
    assert [outcome_number(answer) for answer in answers] == [2, 1, 0]
    assert [header.get("error", {}).get("code") for header, _ in answers] == ["CORRUPT_IMAGE", None, None]
    assert [request.options for request, _ in engine.pipeline.runs] == [*reversed(options), REQUEST.options]
    first, *others = engine.pipeline.shared
    assert first is not None and others == [first, first]


@pytest.mark.parametrize(("enabled", "triggered"), [(True, ["id-1"]), (False, [])])
def test_faults_are_triggered_only_when_enabled(
    enabled: bool, triggered: list[str], engine: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids: list[str] = []
    monkeypatch.setattr(faults, "trigger", ids.append)
    engine.serve(remove(), config=replace(CONFIG, faults=enabled))
    assert ids == triggered


@pytest.mark.parametrize(("message_waits", "times"), [(True, 1), (False, 3)])
def test_memory_is_given_back_after_the_warm_up_and_when_idle(
    message_waits: bool, times: int, engine: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.engine.worker.select.select", lambda read, *_: (read if message_waits else [], [], []))
    engine.serve(remove())
    assert engine.memory_given_back == times


# End


def test_end_of_file_ends_an_engine_without_exit_status(engine: Harness) -> None:
    answers, status = engine.serve(remove())
    assert (len(answers), status) == (3, None)


@pytest.mark.parametrize("failures", [0, 1])
def test_an_engine_ends_after_its_maximum_of_tasks(failures: int, engine: Harness) -> None:
    engine.pipeline.failures += [CorruptImage()] * failures
    _, status = engine.serve(remove(), remove(), remove(), config=replace(CONFIG, max_tasks=2))
    assert (len(engine.pipeline.runs), status) == (2, EXIT_TASKS)


def test_an_engine_above_the_warning_threshold_ends_after_its_first_task(engine: Harness) -> None:
    _, status = engine.serve(WARM, remove(), remove(), config=replace(CONFIG, memory_warn_mb=0))
    assert (len(engine.pipeline.runs), status) == (1, EXIT_MEMORY)


def test_an_engine_ends_when_its_owner_is_another_process() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        done = subprocess.run(
            [sys.executable, "-m", "app.engine.worker", str(theirs.fileno()), str(os.getppid())],
            pass_fds=(theirs.fileno(),),
            cwd=ROOT,
            check=False,
        )
    assert done.returncode == 1
