"""An engine process: `python -m app.engine.worker FD`, where FD is its end of a socket pair.

Its owner's first message is its EngineConfig. It answers `ready` once a real inference has succeeded (or with the
reason why the model can't be used), then works on one request after the other until its owner is gone. Anything that
goes wrong in here, up to the death of this process, is one failed request.
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
from app.engine.pipeline import Pipeline
from app.engine.session import SessionCache, load_session
from app.errors import InternalError, OutOfMemory, ServiceError
from app.removal import RemovalRequest

log = logging.getLogger("app.engine")

PR_SET_PDEATHSIG = 1
# Images of more than two megapixels don't go on the heap: what is freed there is not free for others.
OWN_PAGES = 8 << 20
# Bytes of heap that are kept from one photo to the next.
KEPT = 64 << 20
# Seconds without a photo after which freed memory is given back.
PAUSE = 1.0


def main(descriptor: int, owner: int) -> None:
    """Serve the process `owner` over the socket `descriptor` until it hangs up."""
    _live_only_with(owner)
    _be_the_first_to_go()
    keep_heap_small(OWN_PAGES, KEPT)
    with socket.socket(fileno=descriptor) as sock:
        header, _ = wire.receive(sock)
        config = EngineConfig(**header)
        log_format.configure(config.log_level, config.log_format, config.log_file)
        if config.rembg_home:
            os.environ["REMBG_HOME"] = config.rembg_home  # where rembg's own code looks
        cv2.setNumThreads(1)  # its pieces of work are small: a second thread costs more than it brings
        Engine(config, sock).serve()


def _be_the_first_to_go() -> None:
    """Make this process, not the web process, the kernel's choice when the machine runs out of memory."""
    with contextlib.suppress(OSError):  # not on every system
        Path("/proc/self/oom_score_adj").write_text("800", encoding="ascii")


def _live_only_with(owner: int) -> None:
    """Leave shutdown to the owner, and die with it even in the middle of native code.

    End-of-file ends an engine that waits; one that hangs or computes would outlive a web worker that is killed, so on
    Linux the kernel is asked to kill it then (prctl(2), PR_SET_PDEATHSIG).
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != owner:  # it died before the line above
        os._exit(1)


class Engine:
    """The loop of an engine: one message in, one message out."""

    def __init__(self, config: EngineConfig, sock: socket.socket) -> None:
        self._config = config
        self._sock = sock
        self._sessions = SessionCache(config.threads, load=partial(load_session, threads_alone=config.threads_alone))
        cap, mark = config.memory_mb * MEGABYTE, config.memory_warn_mb * MEGABYTE
        self._memory = MemoryGuard(cap, mark, give_back=give_back_memory)
        self._pipeline = Pipeline(config, self._sessions, self._memory)
        self._done = 0

    def serve(self) -> None:
        """Answer messages until the owner is gone, or until it is time to be replaced."""
        try:
            wire.send(self._sock, self._warm_up())
            gc.freeze()  # what is loaded now stays: a collection per photo then looks at the photo's objects only
            while not (status := self._worn_out()):
                self._tidy_up_in_a_pause()
                header, blobs = wire.receive(self._sock)
                if header["op"] == "warm":
                    wire.send(self._sock, self._warm_up())
                else:
                    self._remove(request_from_wire(header, blobs), alone=header["alone"])
        except (EOFError, ConnectionError):
            log.debug("the owner is gone")
        else:
            sys.exit(status)

    def _tidy_up_in_a_pause(self) -> None:
        """Return freed memory unless the next photo is already here: it would only fetch the same pages again."""
        if not select.select([self._sock], [], [], PAUSE)[0]:
            give_back_memory()

    def _worn_out(self) -> int:
        """Return how to end if this engine has worked enough or keeps too much memory, with nothing in hand, else 0."""
        if self._done >= self._config.max_tasks:
            log.info("engine.recycled reason=tasks tasks=%d", self._done)
            return EXIT_TASKS
        resident = self._memory.resident_without_waste()
        if self._done and resident > self._memory.warn:
            log.info("engine.recycled reason=memory rss_mb=%d tasks=%d", resident // MEGABYTE, self._done)
            return EXIT_MEMORY
        return 0

    def _warm_up(self) -> dict[str, Any]:
        """Run the default model once on a grey picture and say whether it works."""
        try:
            session = self._sessions.get(self._config.model)
            session.predict(Image.new("RGB", (session.model.size, session.model.size), "grey"))
        except ServiceError as error:
            return {"ready": False, **_error_header(error)}
        give_back_memory()
        self._memory.arm()
        rss = resident_bytes() // MEGABYTE
        return {"ready": True, "model": session.model.name, "provider": session.provider, "rss_mb": rss}

    def _remove(self, request: RemovalRequest, *, alone: bool) -> None:
        wire.send(self._sock, {"accepted": True})  # from here on, this process's death is this request's failure
        wire.send(self._sock, *self._answer(request, alone=alone))
        self._done += 1
        gc.collect()  # Pillow keeps images in reference cycles; they must not live until a generation fills up

    def _answer(self, request: RemovalRequest, *, alone: bool) -> tuple[dict[str, Any], list[bytes]]:
        """Return the header and the blobs of the answer; whatever fails becomes one."""
        try:
            self._memory.limit_growth()
            if self._config.faults:
                faults.trigger(request.request_id)
            result = self._pipeline.run(request, alone=alone)
        except ServiceError as error:
            return _error_header(error), []
        except Exception as error:  # the answer is INTERNAL, the trace goes to the log
            if is_out_of_memory(error):
                return _error_header(OutOfMemory(details="The engine's memory cap was reached.")), []
            log.exception("request failed", extra={"request_id": request.request_id})
            return _error_header(InternalError()), []
        return result_header(result), [result.body]


def _error_header(error: ServiceError) -> dict[str, Any]:
    return {"error": {"code": error.code, "message": error.message, "details": error.details, "solution": error.advice}}


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
