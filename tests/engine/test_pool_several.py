"""Several results of one photo, by a pool with a scripted engine."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import replace

import pytest

from app.engine.messages import EngineConfig
from app.engine.pool import EnginePool
from app.engine.quarantine import STRIKES
from app.engine.queue import RemovalQueue
from app.engine.submission import Deadline
from app.errors import CorruptImage
from app.removal import RemovalOptions, RemovalRequest, RemovalResult
from tests.support.doubles import Recorder
from tests.support.scripted_engines import RESULT, Script, died

OPTIONS = [RemovalOptions("lite", 100), RemovalOptions("u2netp", 100), RemovalOptions("lite", 300)]
SEVERAL = RemovalRequest(b"photo", OPTIONS[0], more_options=tuple(OPTIONS[1:]))


class Several:
    """A pool of one fake engine."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.observer = Recorder()
        self.pool = EnginePool(EngineConfig("lite", 1, 1, 1), 1, RemovalQueue(4, body_slots=4), self.observer)

    def submit(self, *answers: RemovalResult | Exception | str) -> list[str]:
        """Submit the request for three results; return the models or codes of errors."""
        self.script.answers += answers
        self.script.requests.clear()
        outcomes = self.pool.submit_all(SEVERAL, Deadline.from_start(300))
        return [outcome.model if isinstance(outcome, RemovalResult) else outcome.code for outcome in outcomes]

    @property
    def requested(self) -> list[list[RemovalOptions]]:
        return [list(request.all_options) for request in self.script.requests]


@pytest.fixture
def several(monkeypatch: pytest.MonkeyPatch) -> Iterator[Several]:
    script = Script()
    monkeypatch.setattr("app.engine.keeper.EngineProcess", script.start_engine)
    several = Several(script)
    yield several
    several.pool.stop()


def test_several_results_are_one_job(several: Several) -> None:
    assert several.submit(RESULT, replace(RESULT, model="u2netp"), RESULT) == ["lite", "u2netp", "lite"]
    assert several.requested == [OPTIONS]
    assert several.observer.removals == list(zip(OPTIONS, ("lite", "u2netp", "lite"), strict=True))


def test_several_results_are_a_batch(several: Several, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RemovalQueue, "under_load", True)
    several.submit()
    assert several.script.fast == [False]


def test_an_error_is_that_of_one_result(several: Several) -> None:
    assert several.submit(RESULT, CorruptImage(), RESULT) == ["lite", "CORRUPT_IMAGE", "lite"]
    assert several.requested == [OPTIONS] and several.observer.reasons == []


@pytest.mark.parametrize(
    ("death", "code"),
    [
        (died(-signal.SIGSEGV), "ENGINE_CRASHED"),
        (died(-signal.SIGABRT), "OUT_OF_MEMORY"),
        (died(-signal.SIGPROF), "DEADLINE_EXCEEDED"),
        (TimeoutError(), "DEADLINE_EXCEEDED"),
    ],
)
def test_results_that_an_engine_leaves_open_are_processed_alone(death: Exception, code: str, several: Several) -> None:
    assert several.submit(RESULT, death, death, RESULT) == ["lite", code, "lite"]
    assert several.requested == [OPTIONS, [OPTIONS[1]], [OPTIONS[2]]]


def test_a_request_that_has_ended_two_engines_is_processed_alone(several: Several) -> None:
    crash = died(-signal.SIGSEGV)
    for _ in range(STRIKES):
        several.submit(RESULT, crash)
        assert several.requested == [OPTIONS, [OPTIONS[1]], [OPTIONS[2]]]
    assert several.submit() == ["lite"] * 3
    assert several.requested == [[each] for each in OPTIONS]


def test_a_result_whose_engine_has_ended_twice_is_refused_and_the_others_are_not(several: Several) -> None:
    crash = died(-signal.SIGSEGV)
    for _ in range(STRIKES):
        several.submit(RESULT, crash, crash)
    assert several.submit() == ["lite", "IMAGE_REFUSED", "lite"]


def test_a_killed_engine_costs_nothing(several: Several) -> None:
    assert several.submit(RESULT, died(-signal.SIGKILL)) == ["lite"] * 3
    assert several.requested == [OPTIONS, OPTIONS]


def test_a_closed_pool_has_no_results(several: Several) -> None:
    several.pool.stop()
    assert several.submit() == ["SHUTTING_DOWN"] * 3
