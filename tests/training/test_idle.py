"""Idle priority, pauses and stops, in processes of their own."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.configuration import ROOT
from tests.support.waiting import wait_until

COUNT = """
import sys, time
from training.idle import Control, Stopped
control = Control()
control.install()
count = 0
try:
    while True:
        control.check()
        count += 1
        open(sys.argv[1], "w").write(str(count))
        time.sleep(0.005)
except Stopped:
    open(sys.argv[1], "w").write("stopped")
"""


class Counter:
    """A process that counts between checks."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log = path.with_suffix(".log")
        with self.log.open("w") as log:
            code = "import logging; logging.basicConfig(level=logging.INFO)\n" + COUNT
            self.process = subprocess.Popen([sys.executable, "-c", code, str(path)], cwd=ROOT, stderr=log)
        wait_until(lambda: self.count > 0)

    @property
    def count(self) -> int:
        """Return the number reached; 0 at first, and while the file is written."""
        text = self.path.read_text() if self.path.is_file() else ""
        return int(text) if text.isdigit() else 0

    def send(self, number: signal.Signals, logged: str) -> None:
        self.process.send_signal(number)
        wait_until(lambda: logged in self.log.read_text())


@pytest.fixture
def counter(tmp_path: Path) -> Iterator[Counter]:
    counter = Counter(tmp_path / "count")
    yield counter
    counter.process.kill()
    counter.process.wait()


def test_sigusr1_pauses_and_resumes(counter: Counter) -> None:
    counter.send(signal.SIGUSR1, "Paused")
    reached = counter.path.read_text()
    with pytest.raises(subprocess.TimeoutExpired):
        counter.process.wait(0.5)
    assert counter.path.read_text() == reached
    counter.send(signal.SIGUSR1, "Resumed")
    wait_until(lambda: counter.count > int(reached))


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_stops_in_order(counter: Counter, number: signal.Signals, paused: bool) -> None:
    if paused:
        counter.send(signal.SIGUSR1, "Paused")
    counter.process.send_signal(number)
    assert counter.process.wait(60) == 0
    assert counter.path.read_text() == "stopped"


@pytest.mark.skipif(sys.platform != "linux", reason="SCHED_IDLE is Linux's")
def test_threads_have_idle_priority_too(tmp_path: Path) -> None:
    code = (
        "import os, threading\nfrom training.idle import take_idle_priority\ntake_idle_priority()\n"
        "show = lambda: print(os.nice(0), os.sched_getscheduler(threading.get_native_id()) == os.SCHED_IDLE)\n"
        "show(); thread = threading.Thread(target=show); thread.start(); thread.join()"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.split("\n")[:2] == ["19 True", "19 True"]
