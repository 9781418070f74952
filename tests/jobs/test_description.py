"""JSON of a job."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.errors import CorruptImage
from app.http.answers import Error
from app.jobs.description import describe, reference
from app.jobs.model import Counts, ItemError, ItemState, JobState, Variant
from tests.support.jobs import a_job, an_item, an_output

JOB = "0" * 32


def test_a_running_job() -> None:
    described = describe(a_job(), now=1_000_012.5)
    assert described == {
        "id": JOB,
        "state": "running",
        "created": "1970-01-12T13:46:40Z",
        "ended": None,
        "expires": "1970-01-13T13:46:40Z",
        "counts": {"total": 2, "queued": 1, "running": 0, "done": 1, "failed": 0},
        "progress": 0.5,
        "seconds_left": 2.5,
        "links": {"self": f"/jobs/{JOB}", "events": f"/jobs/{JOB}/events", "results": f"/jobs/{JOB}/results.zip"},
    }


def test_a_job_that_has_ended() -> None:
    job = a_job(state=JobState.DONE, ended=1_000_020.0, counts=Counts(done=2, failed=1))
    described = describe(job)
    assert described["ended"] == "1970-01-12T13:47:00Z"
    assert (described["progress"], described["seconds_left"]) == (1.0, 0.0)


@pytest.mark.parametrize("fields", [{"started": None}, {"counts": Counts(queued=2)}])
def test_no_estimate_before_the_first_result(fields: dict[str, Any]) -> None:
    assert describe(a_job(**fields))["seconds_left"] is None


def test_a_clock_set_back_gives_no_negative_time() -> None:
    assert describe(a_job(), now=0.0)["seconds_left"] == 0.0


def test_a_finished_photo() -> None:
    (item,) = describe(a_job(), [an_item(1, ItemState.DONE, outputs=(an_output(),))])["items"]
    assert item == {
        "number": 1,
        "name": "photo-1.jpg",
        "state": "done",
        "error": None,
        "results": [
            {
                "preset": "",
                "name": "photo-1.png",
                "mimetype": "image/png",
                "size": 9,
                "sha256": "ab" * 32,
                "width": 30,
                "height": 20,
                "model": "lite",
                "confidence": 0.9,
                "link": f"/jobs/{JOB}/items/1",
            }
        ],
    }


def test_results_of_several_presets_have_links_of_their_own() -> None:
    job = a_job(variants=(Variant("web", {}), Variant("my größe", {})))
    outputs = (an_output(variant="web", folder="web"), an_output(variant="my größe", folder="my größe"))
    (item,) = describe(job, [an_item(1, ItemState.DONE, outputs=outputs)])["items"]
    assert [(result["name"], result["link"]) for result in item["results"]] == [
        ("photo-1.png", f"/jobs/{JOB}/items/1?preset=web"),
        ("photo-1.png", f"/jobs/{JOB}/items/1?preset=my%20gr%C3%B6%C3%9Fe"),
    ]


def test_the_error_of_a_photo_has_the_usual_shape() -> None:
    error = CorruptImage(details="it ends after 3 bytes")
    (item,) = describe(a_job(), [an_item(2, ItemState.FAILED, error=ItemError.of(error))])["items"]
    assert item["error"] == Error.of(error, reference(JOB, 2)).model_dump()
    assert json.dumps(item)


def test_the_reference_in_the_log_does_not_reveal_the_job() -> None:
    assert reference("12345678" + "9" * 24, 7) == "job-12345678-7"
