"""Files of jobs in a folder."""

from __future__ import annotations

import os
import resource
import signal
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.jobs.folder_files import CHUNK, FolderFiles
from app.jobs.store import JobFiles


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "jobs" / "files"


@pytest.fixture
def files(folder: Path) -> FolderFiles:
    return FolderFiles(folder)


def write(files: JobFiles, key: str, data: bytes = b"data") -> None:
    with files.create(key) as file:
        file.write(data)


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@contextmanager
def at_most(size: int) -> Iterator[None]:
    """Refuse files of more bytes, as a full disk does."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_file_is_written_and_read(files: FolderFiles) -> None:
    write(files, "job/in-1", b"x" * (CHUNK + 5))
    assert files.read("job/in-1") == b"x" * (CHUNK + 5)
    assert [len(chunk) for chunk in files.chunks("job/in-1")] == [CHUNK, 5]


def test_a_file_appears_when_it_is_complete(files: FolderFiles, folder: Path) -> None:
    with files.create("job/in-1") as file:
        file.write(b"first half")
        with pytest.raises(FileNotFoundError):
            files.read("job/in-1")
    assert names(folder) == ["job", "job/in-1"]


def test_many_files_are_made_durable_together(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = list[int]()
    fsync = os.fsync

    def counted(descriptor: int) -> None:
        synced.append(descriptor)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", counted)
    files = FolderFiles(folder, durable=False)
    keys = [f"job/in-{number}" for number in range(50)]
    for key in keys:
        write(files, key)
    assert synced == []
    files.sync(keys)
    assert len(synced) == 50 + 1  # and the folder
    with pytest.raises(FileNotFoundError):
        files.sync(["job/missing"])
    write(FolderFiles(folder), "job/out-1")
    assert len(synced) >= 50 + 1 + 2


def test_a_failed_write_leaves_nothing(files: FolderFiles, folder: Path) -> None:
    with pytest.raises(ConnectionResetError), files.create("job/in-1") as file:
        file.write(b"first half")
        raise ConnectionResetError(104, "the client is gone")
    assert names(folder) == ["job"]
    assert files.problem == ""


def test_a_file_is_replaced_whole(files: FolderFiles) -> None:
    write(files, "job/in-1", b"before")
    write(files, "job/in-1", b"after")
    assert files.read("job/in-1") == b"after"


def test_only_the_owner_of_the_service_can_read_the_files(files: FolderFiles, folder: Path) -> None:
    write(files, "job/in-1")
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / "job", folder / "job" / "in-1")]
    assert modes[1:] == [0o700, 0o600]


@pytest.mark.parametrize(
    "key", ["", "job", "job/", "/job/x", "../x", "job/../x", "job/..", "job/.x", "./x", "a/b/c", "job/x\n"]
)
def test_a_key_never_leads_out_of_its_folder(files: FolderFiles, key: str) -> None:
    with pytest.raises(ValueError, match="is not a key"):
        files.read(key)
    with pytest.raises(ValueError, match="is not a key"):
        write(files, key)


@pytest.mark.parametrize("job_id", ["", ".", "..", "a/b"])
def test_only_the_folder_of_a_job_is_deleted(files: FolderFiles, job_id: str) -> None:
    with pytest.raises(ValueError, match="is not the id"):
        files.delete_job(job_id)


def test_missing_files_are_errors(files: FolderFiles) -> None:
    with pytest.raises(FileNotFoundError):
        files.read("job/in-1")
    with pytest.raises(FileNotFoundError):
        files.chunks("job/in-1")  # before the first piece, so that an answer can still have another status


def test_the_files_of_a_job_are_deleted(files: FolderFiles, folder: Path) -> None:
    write(files, "job/in-1")
    write(files, "other/in-1")
    files.delete_job("job")
    files.delete_job("job")
    assert names(folder) == ["other", "other/in-1"]


def test_jobs_are_found_by_the_age_of_their_newest_file(files: FolderFiles, folder: Path) -> None:
    assert files.job_ids(1e12) == []
    write(files, "old/in-1")
    write(files, "young/in-1")
    write(files, "young/in-2")
    for path in (*folder.rglob("*"),):
        os.utime(path, (1000, 1000))
    os.utime(folder / "young" / "in-1", (3000, 3000))
    assert files.job_ids(2000) == ["old"]
    assert sorted(files.job_ids(4000)) == ["old", "young"]


def test_a_full_disk_is_a_problem_until_it_has_room(files: FolderFiles, caplog: pytest.LogCaptureFixture) -> None:
    with at_most(1000):
        for _ in range(2):
            with pytest.raises(OSError, match="too large"):
                write(files, "job/in-1", b"x" * 5000)
        with pytest.raises(OSError, match="too large"):
            files.check()
        assert "File too large" in files.problem
    files.check()
    assert files.problem == ""
    assert [record.getMessage().split()[0] for record in caplog.records] == ["jobs.unavailable"]
    write(files, "job/in-1", b"x" * 5000)


def test_a_folder_that_cannot_be_made_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    files = FolderFiles(tmp_path / "file" / "files")
    with pytest.raises(OSError, match="Not a directory"):
        files.check()
    assert files.problem
