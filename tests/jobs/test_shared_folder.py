"""Folder that web processes and workers share, mounted and not."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.jobs.shared_folder import MARK, WebFolder, WorkerFolder


def write(files: WebFolder | WorkerFolder, key: str) -> None:
    with files.create(key) as file:
        file.write(b"data")


def test_a_worker_uses_a_folder_that_a_web_process_has_checked(tmp_path: Path) -> None:
    web, worker = WebFolder(tmp_path), WorkerFolder(tmp_path)
    web.check()
    write(web, "job/in-1")
    worker.check()
    assert worker.read("job/in-1") == b"data"
    write(worker, "job/out-1")
    assert web.read("job/out-1") == b"data"
    with pytest.raises(FileNotFoundError):
        worker.read("job/in-2")


def test_a_worker_neither_reads_nor_writes_a_folder_that_is_not_mounted(tmp_path: Path) -> None:
    worker = WorkerFolder(tmp_path)
    for attempt in (worker.check, lambda: worker.read("job/in-1"), lambda: write(worker, "job/out-1")):
        with pytest.raises(OSError, match=f"{MARK} is missing") as raised:
            attempt()
        assert not isinstance(raised.value, FileNotFoundError)
    assert list(tmp_path.iterdir()) == []


def test_the_mark_is_not_a_job(tmp_path: Path) -> None:
    web = WebFolder(tmp_path)
    web.check()
    assert (tmp_path / MARK).is_file() and web.job_ids(float("inf")) == []
