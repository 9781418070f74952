"""Real Celery workers with real engines, in separate processes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.support.configuration import ROOT
from tests.support.service import gone
from tests.support.waiting import wait_until

__all__ = ["Worker", "celery_program"]


def celery_program() -> str:
    """Return the path of the command `celery`."""
    return str(Path(sys.executable).with_name("celery"))


@dataclass
class Worker:
    """A worker; its settings are environment variables."""

    name: str
    log: Path
    settings: Mapping[str, str]
    application: str = "app.jobs.celery_app"
    options: Sequence[str] = ()
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> Worker:
        command = [celery_program(), "-A", self.application, "worker", "-n", f"{self.name}@%h", *self.options]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, env=os.environ | dict(self.settings), cwd=ROOT, stdout=log, stderr=subprocess.STDOUT
            )
        wait_until(lambda: " ready." in self.text() or not self.alive())
        assert self.alive(), self.text()
        return self

    def text(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def photos(self) -> int:
        """Return the number of photos that it has processed."""
        return self.text().count(" job.photo_finished ")

    def engines(self) -> list[psutil.Process]:
        assert self.process is not None
        return [child for child in psutil.Process(self.process.pid).children() if "app.engine" in _command(child)]

    def freeze_engines(self) -> list[psutil.Process]:
        """Stop its engines, so that photos stay in work; return them."""
        wait_until(self.engines)
        engines = self.engines()
        for engine in engines:
            engine.suspend()
        return engines

    def terminate(self, seconds: float = 60) -> int:
        """Ask it to end, and return its exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def kill(self) -> None:
        """Kill it and whatever it has started."""
        assert self.process is not None
        children = psutil.Process(self.process.pid).children(recursive=True) if self.alive() else []
        self.process.kill()
        self.process.wait()
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        assert gone(children)


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # it has just ended
        return ""
