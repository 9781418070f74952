"""Pool with real engines: dead and late engines are replaced, and at most one request fails."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import skimage.data
from PIL import Image

from app.engine.messages import EngineConfig
from app.engine.models import REGISTRY
from app.engine.observer import EngineObserver
from app.engine.pool import EnginePool
from app.engine.process import EngineProcess
from app.engine.queue import EngineState, RemovalQueue
from app.engine.submission import Deadline, Outcome
from app.errors import DeadlineExceeded, EngineCrashed, ModelUnavailable, ServiceError, ShuttingDown
from app.removal import RemovalOptions, RemovalRequest, RemovalResult
from tests.support.configuration import ENGINE
from tests.support.onnx_models import write_model
from tests.support.photos import encoded, jpeg
from tests.support.waiting import in_thread, wait_until

PHOTO = RemovalRequest(jpeg("coffee"), RemovalOptions("lite", 2048))
SECONDS = 300.0  # for everything that succeeds, also on a busy machine


def make_pool(config: EngineConfig = ENGINE, processes: int = 1, observer: EngineObserver | None = None) -> EnginePool:
    return EnginePool(config, processes, RemovalQueue(capacity=8, body_slots=8), observer)


def submit(pool: EnginePool, request: RemovalRequest = PHOTO, seconds: float = SECONDS) -> RemovalResult:
    return pool.submit(request, Deadline.after(seconds))


class Submission(threading.Thread):
    """A request in a separate thread."""

    def __init__(self, pool: EnginePool, request: RemovalRequest = PHOTO, seconds: float = SECONDS) -> None:
        super().__init__(daemon=True)
        self.pool, self.request, self.seconds = pool, request, seconds
        self.result: RemovalResult | None = None
        self.error: ServiceError | None = None
        self.start()

    def run(self) -> None:
        try:
            self.result = submit(self.pool, self.request, self.seconds)
        except ServiceError as error:
            self.error = error


@pytest.fixture
def duo() -> Iterator[EnginePool]:
    """Two engines of one thread each, started and idle."""
    pool = make_pool(replace(ENGINE, threads=1), processes=2)
    pool.start()
    wait_until(lambda: pool.status().ready == 2)
    yield pool
    pool.stop()


@pytest.fixture
def solo() -> Iterator[EnginePool]:
    """One engine, started and idle."""
    pool = make_pool()
    pool.start()
    wait_until(lambda: pool.status().ready == 1)
    yield pool
    pool.stop()


def freeze(pool: EnginePool) -> int:
    """Stop the process of the first engine, like native code that hangs."""
    pid = pool.status().pids[0]
    os.kill(pid, signal.SIGSTOP)
    return pid


def kill_all(pool: EnginePool) -> tuple[int, ...]:
    """Kill all engines at once: while one is killed, no other one accepts or ends a request."""
    pids = pool.status().pids
    for sign in (signal.SIGSTOP, signal.SIGKILL):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):  # an engine of which the keeper does not know the end yet
                os.kill(pid, sign)
    return pids


def idle(pool: EnginePool) -> bool:
    return set(pool.status().states) == {EngineState.IDLE}


def busy(pool: EnginePool) -> bool:
    return EngineState.BUSY in pool.status().states


def test_a_request_submitted_before_the_engines_are_ready_is_answered() -> None:
    pool = make_pool()
    try:
        assert submit(pool).foreground.width > 0
    finally:
        pool.stop()


def test_time_in_the_queue_is_the_first_stage(solo: EnginePool) -> None:
    assert list(submit(solo).stages_ms) == ["queue", "decode", "infer", "cutout", "encode"]


def test_one_engine_is_enough_for_sequential_requests() -> None:
    used: list[int] = []

    class Observer(EngineObserver):
        def memory_seen(self, engine: int, megabytes: int) -> None:
            used.append(engine)

    duo = make_pool(replace(ENGINE, threads=1), processes=2, observer=Observer())
    duo.start()
    try:
        wait_until(lambda: idle(duo))
        used.clear()
        for _ in range(4):
            submit(duo)
            wait_until(lambda: duo.status().states[0] is EngineState.IDLE)
        assert used == [0, 0, 0, 0]
    finally:
        duo.stop()


def test_an_engine_learns_whether_it_works_alone(duo: EnginePool, monkeypatch: pytest.MonkeyPatch) -> None:
    values: list[bool] = []
    remove = EngineProcess.remove

    def record(engine: EngineProcess, *arguments: Any, alone: bool, fast: bool) -> Iterator[tuple[int, Outcome]]:
        values.append(alone)
        return remove(engine, *arguments, alone=alone, fast=fast)

    monkeypatch.setattr(EngineProcess, "remove", record)
    submit(duo)
    wait_until(lambda: idle(duo))  # an answer is given before its engine is free again
    pid = freeze(duo)
    hanging = Submission(duo)
    wait_until(lambda: len(values) == 2)
    submit(duo)
    os.kill(pid, signal.SIGCONT)
    hanging.join(SECONDS)
    assert values == [True, True, False]


def test_an_engine_killed_while_idle_is_replaced_and_no_request_fails(duo: EnginePool) -> None:
    for _ in range(3):
        killed = duo.status().pids[0]
        os.kill(killed, signal.SIGKILL)
        assert submit(duo).confidence > 0.5
        wait_until(lambda: killed not in duo.status().pids)  # noqa: B023  # called before the next round
    wait_until(lambda: duo.status().ready == 2)


def test_a_request_that_a_killed_engine_had_not_accepted_is_answered(solo: EnginePool) -> None:
    # The socket of a stopped engine buffers the request, but the engine does not accept it.
    pid = freeze(solo)
    submission = Submission(solo)
    wait_until(lambda: busy(solo))
    os.kill(pid, signal.SIGKILL)
    submission.join(SECONDS)
    assert submission.result is not None and submission.error is None


def test_no_request_fails_while_busy_engines_are_killed(duo: EnginePool) -> None:
    for _ in range(6):
        submissions = [Submission(duo) for _ in range(2)]
        time.sleep(0.02)
        killed = kill_all(duo)
        for submission in submissions:
            submission.join(SECONDS)
            assert submission.result is not None and submission.error is None
        wait_until(lambda: not {*killed} & {*duo.status().pids})  # noqa: B023  # called before the next round
        wait_until(lambda: duo.status().ready == 2)


def test_a_request_whose_engine_is_killed_twice_fails() -> None:
    pool = make_pool(replace(ENGINE, faults=True))
    try:
        submission = Submission(pool, replace(PHOTO, request_id="fault-hang"))
        while submission.is_alive():  # a kill before the engine has accepted the request counts as another attempt
            if busy(pool):
                kill_all(pool)
            submission.join(0.2)
        assert isinstance(submission.error, EngineCrashed)
        assert submit(pool).confidence > 0.5
    finally:
        pool.stop()


def test_an_engine_that_hangs_is_replaced_at_the_deadline(solo: EnginePool) -> None:
    pid, details = freeze(solo), ""
    while "replaced" not in details:  # a deadline that passes before the engine gets the request does not end it
        with pytest.raises(DeadlineExceeded) as caught:
            submit(solo, seconds=0.5)
        details = caught.value.details
    wait_until(lambda: not psutil.pid_exists(pid))
    assert submit(solo).confidence > 0.5


def test_a_request_whose_deadline_passes_in_the_queue_never_reaches_an_engine(solo: EnginePool) -> None:
    pid = freeze(solo)
    first = Submission(solo)
    wait_until(lambda: busy(solo))
    with pytest.raises(DeadlineExceeded, match="not finished in time"):
        submit(solo, seconds=0.2)
    assert solo.queue.depth == 0 and solo.status().pids == (pid,)
    os.kill(pid, signal.SIGCONT)
    first.join(SECONDS)
    assert first.result is not None


def test_stop_ends_all_engines_even_if_one_hangs(duo: EnginePool) -> None:
    pids = duo.status().pids
    freeze(duo)
    duo.stop()
    assert [pid for pid in pids if psutil.pid_exists(pid)] == []
    with pytest.raises(ShuttingDown):
        submit(duo)


def test_stop_waits_for_busy_engines(solo: EnginePool) -> None:
    pid = freeze(solo)
    submission = Submission(solo)
    wait_until(lambda: busy(solo))
    stopping = in_thread(solo.stop, SECONDS)
    wait_until(lambda: solo.queue.closed)
    os.kill(pid, signal.SIGCONT)
    stopping.result(SECONDS)
    submission.join(SECONDS)
    assert submission.result is not None


def test_parallel_requests_get_their_own_answers() -> None:
    pool = make_pool(replace(ENGINE, threads=1), processes=2)
    try:
        wide, tall = RemovalOptions("lite", 400), RemovalOptions("lite", 200)
        submissions = [Submission(pool, replace(PHOTO, options=(wide, tall)[i % 2])) for i in range(16)]
        for submission in submissions:
            submission.join(SECONDS)
        assert [submission.result and submission.result.width for submission in submissions] == [400, 200] * 8
    finally:
        pool.stop()


def test_a_model_without_weights_is_unavailable(tmp_path: Path) -> None:
    config = replace(ENGINE, model="silueta", rembg_home=str(tmp_path))
    pool = make_pool(config)
    try:
        with pytest.raises(ModelUnavailable) as caught:
            submit(pool, replace(PHOTO, options=RemovalOptions("silueta", 2048)))
        assert "models pull silueta" in caught.value.advice
        assert (pool.status().ready, pool.status().problem is None) == (0, False)
        # A request for an available model is still answered.
        assert submit(pool).model == "lite"
    finally:
        pool.stop()


def test_an_engine_becomes_ready_when_its_weights_appear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.engine.keeper.REWARM_SECONDS", 0.2)
    pool = make_pool(replace(ENGINE, model="silueta", rembg_home=str(tmp_path)))
    try:
        pool.start()
        wait_until(lambda: pool.status().problem)
        write_model(REGISTRY["silueta"], tmp_path)
        wait_until(lambda: pool.status().ready == 1, seconds=60)
    finally:
        pool.stop()


def test_an_engine_with_the_loaded_model_is_preferred(tmp_path: Path) -> None:
    write_model(REGISTRY["silueta"], tmp_path)
    pool = make_pool(replace(ENGINE, threads=1, rembg_home=str(tmp_path)), processes=2)
    other = replace(PHOTO, options=RemovalOptions("silueta", 2048))
    try:
        pool.start()
        for request in (other, *(PHOTO, other) * 4):
            wait_until(lambda: idle(pool))
            assert "infer" in submit(pool, request).stages_ms
            assert [keeper.model for keeper in pool._keepers] == ["silueta", "lite"]
    finally:
        pool.stop()


def test_one_engine_serves_all_embedded_models() -> None:
    pool = make_pool(replace(ENGINE, model="auto", threads=1))
    unsure = encoded(Image.fromarray(skimage.data.coins()))
    try:
        names = ["auto", "u2netp", "lite", "auto"]
        models = [submit(pool, RemovalRequest(unsure, RemovalOptions(name, 512))).model for name in names]
        (pid,) = pool.status().pids
        assert models == ["lite+u2netp", "u2netp", "lite", "lite+u2netp"]
        assert submit(pool, replace(PHOTO, options=RemovalOptions("auto", 512))).model == "lite"
        assert pool.status().pids == (pid,) and pool.status().ready == 1
    finally:
        pool.stop()


def test_several_results_come_from_one_inference(solo: EnginePool) -> None:
    options = (PHOTO.options, RemovalOptions("lite", 2048, format="WEBP"), RemovalOptions("lite", 2048, crop=True))
    request = replace(PHOTO, options=options[0], more_options=options[1:])
    outcomes = solo.submit_all(request, Deadline.from_start(SECONDS))
    results = [outcome for outcome in outcomes if isinstance(outcome, RemovalResult)]
    assert sum("infer" in result.stages_ms for result in results) == 1
    assert [result.body for result in results] == [submit(solo, replace(PHOTO, options=each)).body for each in options]


def test_a_batch_waits_longer_than_its_time_in_an_engine(solo: EnginePool) -> None:
    pid = freeze(solo)
    first = Submission(solo)
    wait_until(lambda: busy(solo))
    batch = in_thread(solo.submit_all, PHOTO, Deadline.from_start(SECONDS))
    wait_until(lambda: solo.queue.depth == 1)
    late = in_thread(submit, solo, PHOTO, 0.2)
    assert isinstance(late.exception(SECONDS), DeadlineExceeded) and not batch.done()
    os.kill(pid, signal.SIGCONT)
    first.join(SECONDS)
    (outcome,) = batch.result(SECONDS)
    assert isinstance(outcome, RemovalResult) and outcome.stages_ms["queue"] > 200


def test_a_batch_whose_engine_hangs_is_late(solo: EnginePool) -> None:
    pid = freeze(solo)
    (outcome,) = solo.submit_all(PHOTO, Deadline.from_start(0.5))
    assert isinstance(outcome, DeadlineExceeded)
    wait_until(lambda: not psutil.pid_exists(pid))
    assert submit(solo).confidence > 0.5
