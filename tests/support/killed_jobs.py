"""Program that ends itself by SIGKILL while it works on a job: FOLDER TARGET before|after COUNT.

It is killed at the call number COUNT of TARGET, a method as `module:Class.method`, before or after its work.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.support.job_doubles import FakeEngine, local_jobs, upload
from tests.support.jobs import new_job

__all__ = ["JOB", "PHOTOS"]

JOB = "a" * 32
PHOTOS = 6


def die_at(target: str, when: str, count: int) -> None:
    """Replace a method by one that ends this process."""
    module, _, path = target.partition(":")
    owner, name = getattr(import_module(module), path.split(".")[0]), path.split(".")[1]
    original = getattr(owner, name)
    calls = itertools.count(1)

    def replacement(*args: Any, **kwargs: Any) -> Any:
        call = next(calls)
        if call == count and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*args, **kwargs)
        if call == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, replacement)


def report(step: str) -> None:
    """Write a line at once."""
    sys.stdout.write(f"{step}\n")
    sys.stdout.flush()


def main(folder: str, target: str, when: str, count: str) -> None:
    """Submit and process a job, then delete it."""
    die_at(target, when, int(count))
    service = local_jobs(Path(folder), FakeEngine(), threads=2)
    upload(service, JOB, PHOTOS)
    job = service.submit(new_job(JOB, photos=PHOTOS))
    report("accepted")
    service.start()
    while service.find(JOB, "").counts.finished < PHOTOS:
        time.sleep(0.01)
    report("finished")
    service.delete(job)
    report("deleted")
    service.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
