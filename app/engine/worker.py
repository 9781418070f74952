"""Engine process: `python -m app.engine.worker FD OWNER`, with one end of a socket pair and the owner's process id.

The owner's first message is the EngineConfig. The engine runs an inference and answers `ready`, or the error of the
model, then processes one request after the other until the owner closes the connection. Any failure in this process,
up to its death, fails one request.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import logging
import os
import select
import signal
import socket
import sys
from functools import partial
from pathlib import Path
from typing import Any

import cv2
from PIL import Image

from app import log_format
from app.engine import faults, wire
from app.engine.allocator import keep_heap_small
from app.engine.arena import give_back_memory
from app.engine.container import MEGABYTE
from app.engine.memory import MemoryGuard, is_out_of_memory, resident_bytes
from app.engine.messages import EXIT_MEMORY, EXIT_TASKS, EngineConfig, request_from_wire, result_header
from app.engine.models import REGISTRY
from app.engine.pipeline import Pipeline
from app.engine.session import SessionCache, load_session
from app.engine.shared import SharedWork
from app.errors import InternalError, OutOfMemory, ServiceError
from app.removal import RemovalRequest

log = logging.getLogger("app.engine")

PR_SET_PDEATHSIG = 1
# Bytes; images of more than two megapixels stay off the heap, whose freed memory the system can't reuse.
MMAP_THRESHOLD = 8 << 20
# Bytes of free heap that are kept for the next photo.
TRIM_THRESHOLD = 64 << 20
# Seconds without a photo after which freed memory is given back.
IDLE_SECONDS = 1.0


def main(descriptor: int, owner: int) -> None:
    """Serve the process `owner` over the socket `descriptor` until it closes the connection."""
    _die_with_owner(owner)
    _prefer_for_oom_kill()
    keep_heap_small(MMAP_THRESHOLD, TRIM_THRESHOLD)
    with socket.socket(fileno=descriptor) as sock:
        header, _ = wire.receive(sock)
        config = EngineConfig(**header)
        log_format.configure(config.log_level, config.log_format, config.log_file)
        if config.rembg_home:
            os.environ["REMBG_HOME"] = config.rembg_home  # read by rembg
        cv2.setNumThreads(1)  # a second thread costs more than it saves on such small tasks
        Engine(config, sock).serve()


def _prefer_for_oom_kill() -> None:
    """Make the kernel's OOM killer prefer this process over the web process."""
    with contextlib.suppress(OSError):  # exists on Linux only
        Path("/proc/self/oom_score_adj").write_text("800", encoding="ascii")


def _die_with_owner(owner: int) -> None:
    """Leave shutdown to the owner, and die with it even in native code.

    End-of-file ends an idle engine. An engine that hangs or computes would outlive a killed web worker, so on Linux
    the kernel kills it then (prctl(2), PR_SET_PDEATHSIG).
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != owner:  # the owner died before the call of prctl
        os._exit(1)


class Engine:
    """Loop of an engine: receive a message, answer it."""

    def __init__(self, config: EngineConfig, sock: socket.socket) -> None:
        self._config = config
        self._sock = sock
        load = partial(
            load_session,
            threads_alone=config.threads_alone,
            providers=config.providers,
            cap_mb=config.memory_mb,
        )
        self._sessions = SessionCache(config.threads, load=load)
        cap, warn = config.memory_mb * MEGABYTE, config.memory_warn_mb * MEGABYTE
        self._memory = MemoryGuard(cap, warn, give_back=give_back_memory)
        self._pipeline = Pipeline(config, self._sessions, self._memory)
        self._tasks = 0

    def serve(self) -> None:
        """Answer messages until the owner closes the connection or this engine must be replaced."""
        try:
            wire.send(self._sock, self._warm_up())
            gc.freeze()  # a collection after each photo then visits only that photo's objects
            while not (status := self._recycle_status()):
                self._give_back_memory_when_idle()
                header, blobs = wire.receive(self._sock)
                if header["op"] == "warm":
                    wire.send(self._sock, self._warm_up())
                else:
                    self._remove(request_from_wire(header, blobs), alone=header["alone"], fast=header["fast"])
        except (EOFError, ConnectionError):
            log.debug("the owner has closed the connection")
        else:
            sys.exit(status)

    def _give_back_memory_when_idle(self) -> None:
        """Give back freed memory if no message arrives in IDLE_SECONDS: the next photo would need it again."""
        if not select.select([self._sock], [], [], IDLE_SECONDS)[0]:
            give_back_memory()

    def _recycle_status(self) -> int:
        """Return the exit status if this engine, now idle, has reached its limit of tasks or memory, else 0."""
        if self._tasks >= self._config.max_tasks:
            log.info("engine.recycled reason=tasks tasks=%d", self._tasks)
            return EXIT_TASKS
        resident = self._memory.retained_bytes()
        if self._tasks and resident > self._memory.warn:
            log.info("engine.recycled reason=memory rss_mb=%d tasks=%d", resident // MEGABYTE, self._tasks)
            return EXIT_MEMORY
        return 0

    def _warm_up(self) -> dict[str, Any]:
        """Run the default model on a grey image and return whether it works; load all members of a cascade."""
        model = REGISTRY[self._config.model]
        try:
            session, *_ = [self._sessions.get(part.name) for part in model.parts]
            session.predict(Image.new("RGB", (model.size, model.size), "grey"))
        except ServiceError as error:
            return {"ready": False, **_error_header(error)}
        give_back_memory()
        self._memory.arm()
        rss = resident_bytes() // MEGABYTE
        return {"ready": True, "model": model.name, "provider": session.provider, "rss_mb": rss}

    def _remove(self, request: RemovalRequest, *, alone: bool, fast: bool) -> None:
        wire.send(self._sock, {"accepted": True})  # from now on the death of this process fails this request
        singles = request.singles
        shared = SharedWork() if len(singles) > 1 else None
        for number in self._pipeline.order(singles):
            header, blobs = self._answer(singles[number], shared, alone=alone, fast=fast)
            wire.send(self._sock, header | {"number": number}, blobs)
            del blobs  # only one result is held at a time
            gc.collect()  # Pillow's images are in reference cycles; a generation fills up too late
        if shared is not None:
            shared.free()
        self._tasks += 1

    def _answer(
        self, request: RemovalRequest, shared: SharedWork | None, *, alone: bool, fast: bool
    ) -> tuple[dict[str, Any], list[bytes]]:
        """Return header and blobs of the answer; every failure becomes an answer."""
        try:
            self._memory.limit_growth()
            if self._config.faults:
                faults.trigger(request.request_id)
            result = self._pipeline.run(request, shared, alone=alone, fast=fast)
        except ServiceError as error:
            return _error_header(error), []
        except Exception as error:  # the answer is INTERNAL, the traceback goes to the log
            if is_out_of_memory(error):
                return _error_header(OutOfMemory(details="The engine's memory cap was reached.")), []
            log.exception("request failed", extra={"request_id": request.request_id})
            return _error_header(InternalError()), []
        return result_header(result), [result.body]


def _error_header(error: ServiceError) -> dict[str, Any]:
    return {"error": {"code": error.code, "message": error.message, "details": error.details, "solution": error.advice}}


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
