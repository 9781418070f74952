"""Job: outcome and stages of a queued request."""

from __future__ import annotations

import time

import pytest

from app.engine.job import Job
from app.engine.submission import Deadline, Priority
from app.errors import CorruptImage, EngineCrashed
from app.removal import Box, RemovalOptions, RemovalRequest, RemovalResult

RESULT = RemovalResult(b"", "image/png", 1, 1, Box(), 1.0, "lite", {"infer": 2.0})


@pytest.fixture
def job() -> Job:
    return Job(RemovalRequest(b"photo", RemovalOptions("lite", 100), b"background"), Deadline(100.0), Priority.BATCH)


def test_a_job_has_the_model_of_its_request(job: Job) -> None:
    assert job.model == "lite"


def test_a_result_gets_the_time_in_the_queue_as_its_first_stage(job: Job) -> None:
    job.started = job.submitted + 1.5
    job.answer(RESULT)
    assert job.done.is_set()
    assert list(job.outcome().stages_ms.items()) == [("queue", 1500.0), ("infer", 2.0)]


def test_a_job_is_done_when_all_outcomes_are_there() -> None:
    request = RemovalRequest(b"photo", RemovalOptions("lite", 100), more_options=(RemovalOptions("u2netp", 100),))
    job = Job(request, Deadline(100.0), Priority.BATCH)
    error = CorruptImage()
    job.answer(error, 1)
    assert not job.done.is_set()
    job.answer(RESULT)
    first, second = job.outcomes
    assert job.done.is_set() and second is error
    assert isinstance(first, RemovalResult) and first.model == "lite" and "queue" in first.stages_ms


def test_time_in_the_queue_does_not_count_for_a_deadline_from_the_start(job: Job) -> None:
    job.deadline = Deadline.from_start(60)
    job.submitted = job.started - 1000
    assert job.may_retry() and job.spent_in_engine()


def test_an_error_is_raised_as_the_outcome(job: Job) -> None:
    job.fail(CorruptImage())
    assert job.done.is_set()
    with pytest.raises(CorruptImage):
        job.outcome()


def test_a_job_without_result_and_error_has_crashed(job: Job) -> None:
    with pytest.raises(EngineCrashed):
        job.outcome()


@pytest.mark.parametrize(
    ("used", "left", "retried", "may"),
    [(1.0, 1000.0, False, True), (1000.0, 1.0, False, False), (1.0, -1.0, False, False), (1.0, 1000.0, True, False)],
)
def test_a_job_may_be_retried_once_if_the_time_it_used_is_left(
    used: float, left: float, retried: bool, may: bool, job: Job
) -> None:
    now = time.monotonic()
    job.started, job.deadline, job.retried = now - used, Deadline(now + left), retried
    assert job.may_retry() is may


@pytest.mark.parametrize(("started", "mostly"), [(0.0, True), (50.0, True), (51.0, False), (100.0, False)])
def test_the_larger_part_of_the_time_decides_where_it_was_spent(started: float, mostly: bool, job: Job) -> None:
    job.submitted, job.started = 0.0, started
    assert job.spent_in_engine() is mostly
