"""Files of jobs in a store that speaks S3: moto's server on loopback."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from itertools import count

import pytest

from app.jobs import fsspec_files
from app.jobs.celery_backend import open_files
from app.jobs.folder_files import FolderFiles
from app.jobs.fsspec_files import PART_BYTES, FsspecFiles
from tests.support.servers import S3Server
from tests.support.service import closed_port, free_port

LARGE = os.urandom(2 * PART_BYTES + 12_345)

_numbers = count()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    server = S3Server(free_port(), tmp_path_factory.mktemp("s3")).start()
    yield server
    server.kill()


@pytest.fixture
def files(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> FsspecFiles:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return FsspecFiles(f"s3://{server.make_bucket(f'bucket-{next(_numbers)}')}/a/prefix")


def write(files: FsspecFiles, key: str, *pieces: bytes) -> None:
    with files.create(key) as file:
        for piece in pieces:
            file.write(piece)


def names(files: FsspecFiles) -> list[str]:
    return sorted(path.removeprefix(files._root) for path in files._system.find(files._root))


@pytest.mark.parametrize("pieces", [(), (b"",), (b"a", b"bc"), (LARGE,), (LARGE[:1000], LARGE[1000:])], ids=len)
def test_a_file_is_read_as_written(pieces: tuple[bytes, ...], files: FsspecFiles) -> None:
    write(files, "job/in-1", *pieces)
    assert files.read("job/in-1") == b"".join(pieces)
    chunks = list(files.chunks("job/in-1"))
    assert b"".join(chunks) == b"".join(pieces)
    assert max(map(len, chunks), default=0) <= 1 << 20


def test_a_file_written_again_is_replaced(files: FsspecFiles) -> None:
    write(files, "job/out-1", b"first")
    write(files, "job/out-1", b"second")
    assert files.read("job/out-1") == b"second"


@pytest.mark.parametrize("written", [b"a", LARGE], ids=["small", "large"])
def test_a_file_that_is_not_finished_does_not_appear(written: bytes, files: FsspecFiles) -> None:
    with pytest.raises(RuntimeError, match="the client hung up"), files.create("job/in-1") as file:
        file.write(written)
        raise RuntimeError("the client hung up")
    assert names(files) == []
    assert not files._system.list_multipart_uploads(files._root.partition("/")[0])


def test_a_missing_file_is_an_error_before_the_first_piece(files: FsspecFiles) -> None:
    with pytest.raises(FileNotFoundError):
        files.read("job/nothing")
    with pytest.raises(FileNotFoundError):
        files.chunks("job/nothing")


def test_a_job_is_deleted_with_its_files_only(files: FsspecFiles) -> None:
    for key in ("job/in-1", "job/out-1", "job-2/in-1"):
        write(files, key, b"a")
    files.delete_job("job")
    assert names(files) == ["/job-2/in-1"]
    files.delete_job("job")


def test_jobs_with_old_files_alone_are_listed(files: FsspecFiles) -> None:
    assert files.job_ids(time.time() + 60) == []
    files.check()
    for key in ("job/in-1", "job/out-1", "job-2/in-1"):
        write(files, key, b"a")
    assert sorted(files.job_ids(time.time() + 60)) == ["job", "job-2"]
    assert files.job_ids(time.time() - 60) == []


def test_a_store_that_can_be_written_passes_the_check(files: FsspecFiles) -> None:
    files.check()


def test_a_check_before_a_failed_read_does_not_count(files: FsspecFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: str) -> bytes:
        raise PermissionError("Access Denied")

    monkeypatch.setattr(fsspec_files, "CHECK_SECONDS", 1e9)
    files._checked = -1e9
    files.check()
    monkeypatch.setattr(files._system, "cat_file", refused)
    files.check()  # so soon after the first one without a request
    with pytest.raises(PermissionError):
        files.read("job/in-1")
    with pytest.raises(PermissionError):
        files.check()


def test_a_missing_bucket_fails_the_check(files: FsspecFiles) -> None:
    with pytest.raises(OSError, match="bucket"):
        FsspecFiles("s3://no-such-bucket/prefix").check()


def test_a_store_that_is_away_is_an_os_error(files: FsspecFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    with closed_port() as port:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        away = FsspecFiles("s3://bucket/another-prefix")
        for attempt in (away.check, lambda: away.read("job/in-1"), lambda: write(away, "job/in-1", b"a")):
            with pytest.raises(OSError):
                attempt()


def test_a_folder_needs_no_fsspec(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("with a space")
    files = open_files(folder.as_uri())
    assert isinstance(files, FolderFiles)
    with files.create("job/in-1") as file:
        file.write(b"a")
    assert (folder / "job/in-1").read_bytes() == b"a"
