"""Files of the processes that share a folder, with real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.jobs.processes import Processes
from tests.support.configuration import ROOT
from tests.support.waiting import wait_until

CODE = """
import sys, time
from pathlib import Path
from app.jobs.processes import Processes
processes = Processes(Path(sys.argv[1]))
processes.enter()
print(processes.name, flush=True)
time.sleep(3600)
"""


@pytest.fixture
def other(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that has entered, and its name."""
    process = subprocess.Popen([sys.executable, "-c", CODE, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield process, process.stdout.readline().strip()
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_process_ends_for_the_others_when_it_is_killed(
    tmp_path: Path, other: tuple[subprocess.Popen[str], str]
) -> None:
    process, name = other
    mine = Processes(tmp_path)
    mine.enter()
    assert mine.has_ended(name) is False
    os.kill(process.pid, signal.SIGSTOP)
    assert mine.has_ended(name) is False
    os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: mine.has_ended(name))
    assert [path.name for path in tmp_path.iterdir()] == [mine.name]
    mine.leave()


def test_a_process_never_takes_itself_for_ended(tmp_path: Path) -> None:
    mine = Processes(tmp_path)
    mine.enter()
    assert mine.has_ended(mine.name) is False
    mine.clean()
    assert [path.name for path in tmp_path.iterdir()] == [mine.name]
    mine.leave()
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_process_has_ended(tmp_path: Path) -> None:
    assert Processes(tmp_path).has_ended("1-unknown") is True


def test_a_file_that_was_deleted_is_made_again(tmp_path: Path) -> None:
    mine = Processes(tmp_path)
    mine.enter()
    (tmp_path / mine.name).unlink()
    mine.enter()
    assert Processes(tmp_path).has_ended(mine.name) is False
    mine.leave()


def test_only_files_of_processes_are_deleted(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    (tmp_path / f"1-{'a' * 32}").touch()
    Processes(tmp_path).clean()
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
