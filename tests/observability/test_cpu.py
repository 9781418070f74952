"""CPU time of several processes, some of which end."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import psutil

from app.observability.cpu import CpuClock
from tests.support.waiting import wait_until

BUSY = "while True: pass"


def used(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def test_each_second_is_counted_once() -> None:
    clock, before = CpuClock(), used(os.getpid())
    first = clock.advance([])
    while used(os.getpid()) < before + 0.1:
        time.process_time()
    total = first + clock.advance([])
    assert before + 0.1 <= total <= used(os.getpid())


def test_other_processes_count_from_their_start_until_they_end() -> None:
    clock = CpuClock()
    clock.advance([])
    busy = subprocess.Popen([sys.executable, "-c", BUSY])
    wait_until(lambda: used(busy.pid) >= 0.2)
    own = used(os.getpid())
    assert clock.advance([busy.pid]) >= 0.2
    busy.kill()
    busy.wait()
    assert 0 <= clock.advance([busy.pid]) <= used(os.getpid()) - own + 0.1


def test_a_process_that_has_ended_is_skipped() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert CpuClock().advance([ended.pid]) >= 0
