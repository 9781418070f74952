"""Work on one photo of a job."""

from __future__ import annotations

import errno
import hashlib
import math
from dataclasses import replace
from pathlib import Path

import pytest

from app.engine.messages import EngineConfig
from app.engine.pool import EnginePool
from app.engine.queue import RemovalQueue
from app.errors import CorruptImage, ModelUnavailable, OutOfMemory, ServiceError, ShuttingDown
from app.fetch.url_fetcher import UrlFetcher
from app.jobs import work
from app.jobs.folder_files import FolderFiles
from app.jobs.model import ItemState, Variant
from app.jobs.sqlite_store import SqliteStore
from app.jobs.store import Task
from app.jobs.work import NotNow, Outcome, Tools, complete, process
from app.removal import RemovalRequest
from app.settings import Settings
from tests.support.job_doubles import PHOTO, FakeEngine, Observed
from tests.support.jobs import a_job, an_item, an_output, new_job

JOB = "0" * 32
KEY = f"{JOB}/in-1"


@pytest.fixture
def files(tmp_path: Path) -> FolderFiles:
    files = FolderFiles(tmp_path / "files")
    with files.create(KEY) as file:
        file.write(PHOTO)
    return files


def tools(files: FolderFiles, engine: FakeEngine | None = None, **settings: object) -> Tools:
    configuration = Settings(**settings)  # type: ignore[arg-type]
    return Tools(files, engine or FakeEngine(), UrlFetcher(configuration), configuration)


def task(*variants: Variant, background: str = "", **item: object) -> Task:
    job = a_job(variants=variants or (Variant("", {}),), background=background)
    return Task(job, an_item(1, ItemState.RUNNING, **{"key": KEY, **item}))


def raising(error: Exception, after: int = 0) -> FakeEngine:
    """Return an engine that raises an error, after a number of results."""
    engine = FakeEngine()

    def before(_: RemovalRequest) -> None:
        if len(engine.requests) > after:
            raise error

    engine.before = before
    return engine


def code_of(outcome: Outcome) -> str:
    assert outcome.error is not None
    return outcome.error.code


def test_a_photo_is_processed_and_its_output_written(files: FolderFiles) -> None:
    engine = FakeEngine()
    outcome = process(task(), tools(files, engine))
    (output,) = outcome.outputs
    body = PHOTO[::-1]
    assert outcome.error is None
    assert files.read(output.key) == body
    assert (output.size, output.sha256) == (len(body), hashlib.sha256(body).hexdigest())
    assert (output.variant, output.path, output.mimetype) == ("", "photo-1.png", "image/png")
    assert (output.width, output.height, output.model, output.confidence) == (30, 20, "lite", 0.9)
    assert engine.requests[0].request_id == "job-00000000-1"


def test_options_are_parsed_from_the_stored_fields(files: FolderFiles) -> None:
    engine = FakeEngine()
    fields = {"format": "AUTO", "quality": "70", "background": "white", "model": "u2netp"}
    process(task(Variant("", fields)), tools(files, engine, max_dimension=1234))
    options = engine.requests[0].options
    assert (options.format, options.quality, options.background) == ("PNG", 70, (255, 255, 255, 255))
    assert (options.model, options.longest_side, options.clean_mask) == ("u2netp", 1234, True)


def test_each_preset_gives_an_output(files: FolderFiles) -> None:
    outcome = process(task(Variant("web", {"format": "JPEG"}), Variant("mobile", {"format": "WEBP"})), tools(files))
    assert [(output.variant, output.path) for output in outcome.outputs] == [
        ("web", "web/photo-1.jpg"),
        ("mobile", "mobile/photo-1.webp"),
    ]
    assert len({output.key for output in outcome.outputs}) == 2


def test_the_background_is_passed_on(files: FolderFiles) -> None:
    engine = FakeEngine()
    with files.create(f"{JOB}/bg") as file:
        file.write(b"beach")
    process(task(background=f"{JOB}/bg"), tools(files, engine))
    assert engine.requests[0].background_image == b"beach"


@pytest.mark.parametrize(
    ("data", "code"), [(b"", "EMPTY_FILE"), (b"text", "UNSUPPORTED_FORMAT"), (PHOTO * 1000, "FILE_TOO_LARGE")]
)
def test_a_file_that_is_not_an_image_fails(files: FolderFiles, data: bytes, code: str) -> None:
    with files.create(KEY) as file:
        file.write(data)
    engine = FakeEngine()
    assert code_of(process(task(), tools(files, engine, max_image_bytes=2000))) == code
    assert engine.requests == []


def test_a_missing_file_fails(files: FolderFiles) -> None:
    files.delete_job(JOB)
    assert code_of(process(task(), tools(files))) == "INTERNAL"


class DamagedFiles(FolderFiles):
    """Files of which one cannot be read `failures` times; without `works` the whole storage fails its check."""

    def __init__(self, folder: Path, failures: int, *, works: bool = True) -> None:
        super().__init__(folder)
        self.failures, self.works = failures, works
        self.reads = 0

    def read(self, key: str) -> bytes:
        self.reads += 1
        if key == KEY and self.failures:
            self.failures -= 1
            raise OSError(errno.EIO, "Input/output error")
        return super().read(key)

    def check(self) -> None:
        if not self.works:
            raise OSError(errno.EIO, "Input/output error")
        super().check()


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "READ_PAUSE_SECONDS", 0)


@pytest.mark.usefixtures("files", "no_pause")
def test_a_file_that_cannot_be_read_fails_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    damaged = DamagedFiles(tmp_path / "files", 1000)
    outcome = process(task(), tools(damaged))
    assert (code_of(outcome), damaged.reads) == ("PHOTO_UNREADABLE", work.MAX_READS)
    assert "job.photo_unreadable file=00000000/in-1 attempt=3 error=OSError(5, 'Input/output error')" in caplog.text
    with damaged.create(f"{JOB}/in-2") as file:
        file.write(PHOTO)
    assert process(task(key=f"{JOB}/in-2"), tools(damaged)).error is None


@pytest.mark.usefixtures("files", "no_pause")
def test_a_file_that_can_be_read_later_is_processed(tmp_path: Path) -> None:
    damaged = DamagedFiles(tmp_path / "files", work.MAX_READS - 1)
    assert process(task(), tools(damaged)).error is None


@pytest.mark.usefixtures("files", "no_pause")
def test_a_storage_that_is_away_fails_no_photo(tmp_path: Path) -> None:
    away = DamagedFiles(tmp_path / "files", 1000, works=False)
    with pytest.raises(NotNow, match="storage cannot be used"):
        process(task(), tools(away))
    assert away.reads == 1


def test_a_url_is_fetched_by_the_rules_of_all_requests(files: FolderFiles) -> None:
    outcome = process(task(key="", url="http://127.0.0.1/a.png"), tools(files, allow_url_fetch=True))
    assert code_of(outcome) == "INVALID_URL"


def test_a_model_that_is_not_allowed_any_more_fails(files: FolderFiles) -> None:
    assert code_of(process(task(Variant("", {"model": "isnet-general-use"})), tools(files))) == "INVALID_PARAMETER"


@pytest.mark.parametrize("error", [CorruptImage(details="cut"), OutOfMemory()], ids=lambda error: error.code)
def test_an_error_of_the_photo_fails_it(files: FolderFiles, error: ServiceError) -> None:
    outcome = process(task(), tools(files, raising(error)))
    assert (code_of(outcome), outcome.outputs) == (error.code, ())


def test_an_error_of_one_preset_leaves_the_outputs_of_the_others(files: FolderFiles) -> None:
    engine = FakeEngine()

    def before(request: RemovalRequest) -> None:
        if request.options.quality == 90:
            raise OutOfMemory()

    engine.before = before
    three = Variant("web", {}), Variant("print", {"quality": "90"}), Variant("mobile", {})
    outcome = process(task(*three), tools(files, engine))
    assert [output.path for output in outcome.outputs] == ["web/photo-1.png", "mobile/photo-1.png"]
    assert code_of(outcome) == "OUT_OF_MEMORY"


def test_a_shutdown_during_one_preset_queues_the_photo_again(files: FolderFiles) -> None:
    two = Variant("web", {}), Variant("print", {})
    with pytest.raises(NotNow):
        process(task(*two), tools(files, raising(ShuttingDown(), after=1)))


def test_a_photo_waits_for_an_engine_without_limit(files: FolderFiles) -> None:
    engine = FakeEngine()
    process(task(), tools(files, engine, request_timeout=7))
    (deadline,) = engine.deadlines
    assert (deadline.at, deadline.engine_seconds) == (math.inf, 7)


def test_a_photo_that_waits_for_an_engine_is_queued_again_at_a_shutdown(files: FolderFiles) -> None:
    queue = RemovalQueue(capacity=1, body_slots=1)  # without an engine
    pool = EnginePool(EngineConfig("lite", 1, 1, 1), 0, queue)
    with pytest.raises(NotNow) as found:
        process(task(), replace(tools(files), submitter=pool, stopped=lambda: True))
    assert found.value.ending


def test_an_unexpected_error_fails_the_photo_and_is_logged(
    files: FolderFiles, caplog: pytest.LogCaptureFixture
) -> None:
    outcome = process(task(), tools(files, raising(KeyError("a bug"))))
    assert code_of(outcome) == "INTERNAL"
    assert "a bug" not in str(outcome.error)
    assert "KeyError: 'a bug'" in caplog.text


@pytest.mark.parametrize(
    ("error", "pauses", "ending"),
    [(ShuttingDown(), False, True), (ModelUnavailable(), True, False)],
    ids=lambda value: getattr(value, "code", value),
)
def test_a_photo_without_an_engine_is_queued_again(
    files: FolderFiles, error: ServiceError, pauses: bool, ending: bool
) -> None:
    with pytest.raises(NotNow) as found:
        process(task(), tools(files, raising(error)))
    assert (found.value.pause > 0, found.value.ending) == (pauses, ending)


def test_a_full_disk_is_not_the_fault_of_the_photo(files: FolderFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(NotNow, match="storage cannot be used"):
        process(task(), tools(files))


def test_another_result_never_replaces_a_file_that_was_delivered(files: FolderFiles) -> None:
    first = process(task(), tools(files)).outputs[0]
    with files.create(KEY) as file:
        file.write(PHOTO + b"as another engine sees it")
    second = process(task(), tools(files)).outputs[0]
    assert hashlib.sha256(files.read(first.key)).hexdigest() == first.sha256
    assert hashlib.sha256(files.read(second.key)).hexdigest() == second.sha256


@pytest.fixture
def store(tmp_path: Path) -> SqliteStore:
    return SqliteStore(tmp_path / "state.db", 100)


def test_an_outcome_is_stored_and_counted_once(files: FolderFiles, store: SqliteStore) -> None:
    observer = Observed()
    store.add(new_job(JOB, photos=1))
    for _ in range(2):
        complete(task(), Outcome((an_output(JOB),)), store, files, observer)
    assert observer.events == ["done"]
    assert files.read(KEY) == PHOTO


def test_the_outputs_of_a_deleted_job_are_deleted(files: FolderFiles, store: SqliteStore) -> None:
    complete(task(), Outcome((an_output(JOB),)), store, files, Observed())
    with pytest.raises(FileNotFoundError):
        files.read(KEY)


def test_a_failed_photo_is_counted_as_failed(files: FolderFiles, store: SqliteStore) -> None:
    observer: Observed = Observed()
    store.add(new_job(JOB, photos=1))
    complete(task(), Outcome.failed(CorruptImage()), store, files, observer)
    assert observer.events == ["failed"]
