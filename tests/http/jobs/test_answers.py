"""Answers about jobs: state, results, ZIP, list, deletion; and who may see them."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.errors import EngineCrashed
from app.http.jobs import views
from app.http.jobs.answers import JobAnswer, JobList
from app.jobs.description import describe
from app.jobs.folder_files import FolderFiles
from app.jobs.model import ItemError, ItemState
from app.server.flush import AnswerCut
from tests.support.api_keys import sha
from tests.support.doubles import FakePool, failing
from tests.support.job_clients import form, photos, post, small_photo, stored_files, work
from tests.support.jobs import a_job, an_item, an_output
from tests.support.metric_samples import samples

MakeClient = Callable[..., FlaskClient]
PICTURE = b"picture"  # of the pretended engine


def finished(client: FlaskClient, count: int = 2, **fields: str) -> str:
    """Submit a job, process it, and return its path."""
    path = post(client, count, fields=fields).headers["Location"]
    work(client)
    return path


def unzipped(answer: TestResponse) -> dict[str, bytes]:
    assert (answer.status_code, answer.mimetype) == (200, "application/zip")
    assert answer.content_length == len(answer.data)
    with zipfile.ZipFile(io.BytesIO(answer.data)) as file:
        assert file.testzip() is None
        assert {each.compress_type for each in file.infolist()} == {zipfile.ZIP_STORED}
        return {name: file.read(name) for name in file.namelist()}


# State


def test_a_finished_job_has_its_results(client: FlaskClient) -> None:
    path = finished(client)
    job: Any = client.get(path).json
    assert (job["state"], job["progress"], job["counts"]["done"]) == ("done", 1.0, 2)
    result = job["items"][1]["results"][0]
    assert (result["name"], result["mimetype"], result["size"]) == ("photo-2.png", "image/png", len(PICTURE))
    assert result["sha256"] == hashlib.sha256(PICTURE).hexdigest()
    assert client.get(result["link"]).data == PICTURE


def test_answers_agree_with_their_models(client: FlaskClient) -> None:
    path = finished(client)
    JobAnswer.model_validate(client.get(path).json, strict=True, extra="forbid")
    error = ItemError.of(EngineCrashed())
    items = [an_item(1, ItemState.FAILED, error=error), an_item(2, ItemState.DONE, outputs=(an_output(),))]
    described = describe(a_job(), items)
    assert JobAnswer.model_validate(described, extra="forbid").model_dump() == described
    JobList.model_validate({"jobs": [describe(a_job())]}, extra="forbid")


def test_states_are_not_cached(client: FlaskClient) -> None:
    path = finished(client)
    for answer in (client.get(path), client.get(f"{path}/results.zip")):
        assert answer.headers["Cache-Control"] == "no-store"


# Results


def test_a_result_is_a_download_with_its_digest(client: FlaskClient) -> None:
    path = finished(client)
    answer = client.get(f"{path}/items/1")
    assert (answer.status_code, answer.mimetype, answer.data) == (200, "image/png", PICTURE)
    assert answer.content_length == len(PICTURE)
    assert answer.headers["Content-Disposition"] == "attachment; filename=photo-1.png"
    assert answer.headers["ETag"] == f'"{hashlib.sha256(PICTURE).hexdigest()}"'


@pytest.mark.parametrize(("given", "status"), [("{}", 304), ("W/{}", 304), ('"x", {}', 304), ("*", 304), ('"x"', 200)])
def test_a_result_that_the_client_has_is_not_sent_again(client: FlaskClient, given: str, status: int) -> None:
    link = f"{finished(client)}/items/1"
    etag = client.get(link).headers["ETag"]
    answer = client.get(link, headers={"If-None-Match": given.format(etag)})
    assert (answer.status_code, answer.data) == (status, b"" if status == 304 else PICTURE)
    assert answer.headers["ETag"] == etag


def test_an_unfinished_photo_is_a_conflict(client: FlaskClient) -> None:
    path = post(client).headers["Location"]
    answer = client.get(f"{path}/items/1")
    assert answer.json is not None
    assert (answer.status_code, answer.json["code"]) == (409, "RESULT_NOT_READY")
    assert answer.json["details"] == "The photo is queued."
    assert answer.headers["Retry-After"] == "2"


def test_a_failed_photo_is_answered_with_its_error(client: FlaskClient, fake_pool: FakePool) -> None:
    failing(fake_pool, EngineCrashed())
    path = finished(client, 1)
    job: Any = client.get(path).json
    answer = client.get(f"{path}/items/1")
    assert (answer.status_code, answer.json) == (500, job["items"][0]["error"])
    assert job["items"][0]["error"]["code"] == "ENGINE_CRASHED"


@pytest.mark.parametrize("number", ["0", "3", "99999999999999999999999", "x", "-1", "1.0"])
def test_a_photo_that_does_not_exist_is_not_found(client: FlaskClient, number: str) -> None:
    answer = client.get(f"{finished(client)}/items/{number}")
    assert answer.json is not None
    assert (answer.status_code, answer.json["code"]) == (404, "NOT_FOUND")


def test_results_are_neither_looked_up_nor_kept_in_the_cache(make_jobs_client: MakeClient, fake_pool: FakePool) -> None:
    client = make_jobs_client(cache_url="memory://")
    for _ in range(2):
        post(client, fields={"presets": "web,mobile"})
    work(client)
    assert len(fake_pool.requests) == 4
    found = samples(client.get("/metrics").text)
    assert [found[f"cache_requests_total,result={name}"] for name in ("hit", "miss", "error")] == [0, 0, 0]


def test_results_of_presets_are_chosen_by_name(client: FlaskClient) -> None:
    path = finished(client, 1, presets="web,email")
    job: Any = client.get(path).json
    links = [result["link"] for result in job["items"][0]["results"]]
    assert links == [f"{path}/items/1?preset=web", f"{path}/items/1?preset=email"]
    assert [client.get(link).status_code for link in links] == [200, 200]
    for query in ("", "?preset=amazon"):
        answer = client.get(f"{path}/items/1{query}")
        assert answer.json is not None
        assert (answer.status_code, answer.json["code"]) == (400, "INVALID_PARAMETER")
        assert "web, email" in answer.json["message"]


def test_a_preset_of_a_job_without_presets_is_refused(client: FlaskClient) -> None:
    answer = client.get(f"{finished(client, 1)}/items/1?preset=web")
    assert answer.json is not None
    assert (answer.status_code, answer.json["message"]) == (400, "The job has no presets.")


def test_one_preset_needs_no_name(client: FlaskClient) -> None:
    path = finished(client, 1, preset="web")
    assert [client.get(f"{path}/items/1{query}").status_code for query in ("", "?preset=web")] == [200, 200]


def test_a_result_deleted_meanwhile_is_not_found(client: FlaskClient, folder: Path) -> None:
    path = finished(client)
    for file in stored_files(folder):
        file.unlink()
    answer = client.get(f"{path}/items/1")
    assert answer.json is not None
    assert (answer.status_code, answer.json["message"]) == (404, "The file of this result has been deleted.")


def test_heads_are_answered(client: FlaskClient) -> None:
    path = finished(client)
    for end in ("", "/items/1", "/results.zip", "/events"):
        answer = client.head(path + end)
        assert (answer.status_code, answer.data) == (200, b"")


# ZIP


def test_the_zip_has_all_results_and_the_manifest_last(client: FlaskClient) -> None:
    answer = client.get(f"{finished(client)}/results.zip")
    files = unzipped(answer)
    assert list(files) == ["photo-1.png", "photo-2.png", "manifest.json"]
    assert files["photo-1.png"] == PICTURE
    manifest = json.loads(files["manifest.json"])
    (first, _) = manifest["items"]
    assert first["results"] == [
        {
            "preset": "",
            "name": "photo-1.png",
            "mimetype": "image/png",
            "size": len(PICTURE),
            "sha256": hashlib.sha256(PICTURE).hexdigest(),
            "width": 30,
            "height": 20,
            "model": "lite",
            "confidence": 0.9,
            "path": "photo-1.png",
        }
    ]


def test_the_zip_does_not_contain_the_id(client: FlaskClient) -> None:
    path = finished(client)
    answer = client.get(f"{path}/results.zip")
    job_id = path.rpartition("/")[2]
    assert job_id not in unzipped(answer)["manifest.json"].decode()
    assert job_id not in str(answer.headers)


def test_equal_names_are_numbered(client: FlaskClient) -> None:
    names = ["shoe.jpg", "../shoe.png", "C:\\shoe.JPG", "SHOE.jpg", "shoe-2.jpg", "manifest.json", ".."]
    path = client.post("/jobs", data=form([(name, small_photo()) for name in names])).headers["Location"]
    work(client)
    files = unzipped(client.get(f"{path}/results.zip"))
    assert len({name.lower() for name in files}) == len(names) + 1
    assert not any(name.startswith(("/", ".")) or ".." in name or "\\" in name for name in files)
    manifest = json.loads(files.pop("manifest.json"))
    assert [result["path"] for item in manifest["items"] for result in item["results"]] == list(files)


def test_each_preset_has_a_folder(client: FlaskClient) -> None:
    files = unzipped(client.get(f"{finished(client, 2, presets='web,email')}/results.zip"))
    assert sorted(files) == [
        "email/photo-1.png",
        "email/photo-2.png",
        "manifest.json",
        "web/photo-1.png",
        "web/photo-2.png",
    ]


def test_the_zip_of_an_unfinished_job_has_what_is_done(client: FlaskClient) -> None:
    path = client.post("/jobs", data=form([*photos(1), ("bad.jpg", b"x")])).headers["Location"]
    files = unzipped(client.get(f"{path}/results.zip"))
    manifest = json.loads(files["manifest.json"])
    assert list(files) == ["manifest.json"]
    assert manifest["state"] == "queued"
    assert [(item["state"], item["results"]) for item in manifest["items"]] == [("queued", []), ("failed", [])]
    assert manifest["items"][1]["error"]["code"] == "UNSUPPORTED_FORMAT"


def test_the_zip_of_a_job_deleted_meanwhile_is_cut(client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    path = finished(client, 3)
    answer = client.get(f"{path}/results.zip", buffered=False)
    pieces = iter(answer.response)
    next(pieces)
    client.delete(path)
    with caplog.at_level("INFO"), pytest.raises(AnswerCut, match="deleted"):
        list(pieces)
    answer.close()
    assert cut_lines(caplog) == [("INFO", f"job.transfer_cut job={path[6:14]} the job was deleted")]


def cut_lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    lines = [(record.levelname, record.getMessage()) for record in caplog.records]
    return [line for line in lines if line[1].startswith("job.transfer_cut")]


def test_a_result_that_cannot_be_read_to_its_end_is_cut(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def failing_chunks(_: FolderFiles, key: str) -> Iterator[bytes]:
        yield PICTURE[:1]
        raise OSError(errno.EIO, "Input/output error")

    link = f"{finished(client, 1)}/items/1"
    monkeypatch.setattr(FolderFiles, "chunks", failing_chunks)
    answer = client.get(link, buffered=False)
    with pytest.raises(AnswerCut, match="Input/output error"):
        list(answer.response)
    ((level, line),) = cut_lines(caplog)
    assert level == "WARNING"
    assert "Input/output error" in line


# Deletion and owners


def test_a_deleted_job_is_gone_with_its_files(client: FlaskClient, folder: Path) -> None:
    path = finished(client)
    answer = client.delete(path)
    assert (answer.status_code, answer.data) == (204, b"")
    assert stored_files(folder) == []
    assert [client.get(path + end).status_code for end in ENDS] == [404] * len(ENDS)
    assert client.delete(path).status_code == 404


ENDS = ("", "/events", "/items/1", "/results.zip")


@pytest.fixture
def with_keys(make_jobs_client: MakeClient, tmp_path: Path) -> FlaskClient:
    (tmp_path / "keys").write_text("".join(f"{name}:{sha(name)}:\n" for name in ("shop", "rival")))
    return make_jobs_client(api_keys_file=tmp_path / "keys")


def test_a_job_of_another_key_is_the_same_as_none(with_keys: FlaskClient) -> None:
    path = post(with_keys, headers={"X-Api-Key": "shop"}).headers["Location"]
    unknown = "/jobs/" + "0" * 32
    for method in ("GET", "DELETE"):
        for end in ENDS if method == "GET" else ("",):
            answers = [
                with_keys.open(each + end, method=method, headers={"X-Api-Key": "rival"}) for each in (path, unknown)
            ]
            first, second = (answer.get_json() | {"request_id": ""} for answer in answers)
            assert [answer.status_code for answer in answers] == [404, 404]
            assert first == second
            assert set(answers[0].headers.keys()) == set(answers[1].headers.keys())
    assert with_keys.get(path, headers={"X-Api-Key": "shop"}).status_code == 200
    assert with_keys.get(path).status_code == 401


def test_jobs_are_listed_by_key(with_keys: FlaskClient) -> None:
    made = [post(with_keys, headers={"X-Api-Key": "shop"}).json for _ in range(2)]
    post(with_keys, headers={"X-Api-Key": "rival"})
    listed: Any = with_keys.get("/jobs", headers={"X-Api-Key": "shop"}).json
    assert sorted(job["id"] for job in listed["jobs"]) == sorted(job["id"] for job in made if job)
    assert not any("items" in job for job in listed["jobs"])


def test_the_newest_jobs_are_listed(with_keys: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "MAX_LISTED", 2)
    made = [post(with_keys, headers={"X-Api-Key": "shop"}).json for _ in range(3)]
    listed: Any = with_keys.get("/jobs", headers={"X-Api-Key": "shop"}).json
    assert [job["id"] for job in listed["jobs"]] == [job["id"] for job in made[:0:-1] if job]


def test_without_keys_jobs_are_not_listed(client: FlaskClient) -> None:
    post(client)
    answer = client.get("/jobs")
    assert answer.json is not None
    assert (answer.status_code, answer.json["code"]) == (403, "JOBS_NOT_LISTED")


@pytest.mark.parametrize("job_id", ["x", "%00", "..", "%2e%2e", "a" * 5000, "😀", "0' OR 1=1 --"])
def test_odd_ids_are_not_found(client: FlaskClient, job_id: str) -> None:
    assert [client.get(f"/jobs/{job_id}{end}").status_code for end in ENDS] == [404] * 4


def test_a_page_of_another_origin_may_use_jobs(make_jobs_client: MakeClient) -> None:
    client = make_jobs_client(cors_origins=("https://shop.example",))
    asked = {
        "Origin": "https://shop.example",
        "Access-Control-Request-Method": "DELETE",
        "Access-Control-Request-Headers": "idempotency-key, last-event-id",
    }
    answer = client.options("/jobs/1", headers=asked)
    assert "DELETE" in answer.headers["Access-Control-Allow-Methods"]
    assert answer.headers["Access-Control-Allow-Headers"] == "idempotency-key, last-event-id"
    exposed = post(client, headers={"Origin": "https://shop.example"}).headers["Access-Control-Expose-Headers"]
    assert {"Location", "ETag"} <= set(exposed.split(", "))
