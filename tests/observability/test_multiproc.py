"""Metrics shared by several processes.

PROMETHEUS_MULTIPROC_DIR must be set before prometheus_client is imported, so each worker here is a new process.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.observability import multiproc
from tests.support.metric_samples import samples

WORKER = """
import sys
from app.observability import multiproc
multiproc.reserve()
from app.observability.metrics import Metrics
from app.engine.observer import RestartReason
from app.settings import Settings
metrics = Metrics(Settings())
metrics.set_state(2, storage_up=True)
metrics.memory_seen(0, 10)
for _ in range(int(sys.argv[1])):
    metrics.replaced(RestartReason.CRASHED)
    metrics._histograms["output_bytes"].observe(20_000)
metrics.exposition()
print(flush=True)
sys.stdin.read()
"""
CRASHES = "engine_restarts_total,reason=crashed"


class Worker:
    """Process that counts, and lives until it is killed."""

    def __init__(self, folder: Path, count: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(count)],
            env=os.environ | {multiproc.FOLDER_VARIABLE: str(folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout
        self.process.stdout.readline()

    def kill(self) -> int:
        self.process.kill()
        self.process.communicate()
        return self.process.pid


def mark_dead(folder: Path, pid: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(multiproc.FOLDER_VARIABLE, str(folder))
        multiproc.mark_dead(pid)


def shared(folder: Path) -> dict[str, float]:
    return samples(multiproc.exposition(folder).decode())


def test_workers_are_summed_and_counts_of_dead_workers_stay(tmp_path: Path) -> None:
    first, second = Worker(tmp_path, 3), Worker(tmp_path, 4)
    both = shared(tmp_path)
    assert (both[CRASHES], both["output_bytes_count"], both["queue_depth"]) == (7, 7, 4)
    mark_dead(tmp_path, first.kill())
    one = shared(tmp_path)
    assert (one[CRASHES], one["output_bytes_count"], one["output_bytes_bucket,le=30000.0"]) == (7, 7, 7)
    assert (one["queue_depth"], one["engine_memory_bytes"], one["ratelimit_storage_up"]) == (2, 10 << 20, 1)
    mark_dead(tmp_path, second.kill())
    none = shared(tmp_path)
    assert none[CRASHES] == 7 and "queue_depth" not in none
    assert {file.name.split("_")[0] for file in tmp_path.glob("*.db")} == {"counter", "histogram"}


def test_an_empty_file_is_ignored(tmp_path: Path) -> None:
    worker = Worker(tmp_path, 2)
    (tmp_path / "counter_99999.db").touch()
    assert shared(tmp_path)[CRASHES] == 2
    mark_dead(tmp_path, 99999)
    mark_dead(tmp_path, worker.kill())
    assert shared(tmp_path)[CRASHES] == 2


def test_the_files_of_a_dead_worker_are_small(tmp_path: Path) -> None:
    mark_dead(tmp_path, Worker(tmp_path, 3).kill())
    assert sum(file.stat().st_blocks * 512 for file in tmp_path.glob("*.db")) <= 100_000


def test_a_missing_folder_is_ignored(tmp_path: Path) -> None:
    mark_dead(tmp_path / "missing", 99999)


PREPARE = "from app.observability import multiproc\nprint(multiproc.prepare(), flush=True)\ninput()"


def prepared(**environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PREPARE],
        env=os.environ | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def folder_of(process: subprocess.Popen[str]) -> Path:
    assert process.stdout
    return Path(process.stdout.readline().strip())


def test_each_server_has_its_own_folder_and_removes_it() -> None:
    processes = [prepared(), prepared()]
    folders = [folder_of(process) for process in processes]
    assert len(set(folders)) == 2 and all(folder.is_dir() for folder in folders)
    for process in processes:
        process.communicate("\n")
    assert not any(folder.exists() for folder in folders)


def test_a_server_removes_the_folder_of_a_killed_server_and_not_of_a_living_one() -> None:
    killed, living = prepared(), prepared()
    abandoned, used = folder_of(killed), folder_of(living)
    killed.kill()
    killed.communicate()
    for folder in (abandoned, used):
        os.utime(folder, (1, 1))
    following = prepared()
    folder_of(following)
    assert (abandoned.exists(), used.exists()) == (False, True)
    for process in (living, following):
        process.communicate("\n")


def test_a_folder_of_the_operator_loses_only_its_metrics_and_stays(tmp_path: Path) -> None:
    for name in ("counter_1.db", "notes.txt"):
        (tmp_path / name).touch()
    process = prepared(**{multiproc.FOLDER_VARIABLE: str(tmp_path)})
    assert folder_of(process) == tmp_path
    process.communicate("\n")
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


def test_the_files_of_a_living_worker_are_allocated(tmp_path: Path) -> None:
    worker = Worker(tmp_path, 3)
    pid = worker.process.pid
    sizes = {file.name: file.stat().st_blocks * 512 for file in tmp_path.glob("*.db")}
    worker.kill()
    assert set(sizes) == {f"{kind}_{pid}.db" for kind in multiproc.RESERVED}
    assert all(sizes[f"{kind}_{pid}.db"] >= size for kind, size in multiproc.RESERVED.items())


def test_a_worker_without_space_counts_in_its_own_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setenv(multiproc.FOLDER_VARIABLE, str(tmp_path))
    monkeypatch.setattr(os, "posix_fallocate", fail)
    multiproc.reserve()
    assert multiproc.shared_folder() is None
    assert list(tmp_path.iterdir()) == []
    assert "metrics.not_shared error=No space left on device" in caplog.text
