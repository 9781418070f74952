"""Injected faults for tests of the service's recovery; only with EngineConfig.faults.

A request whose id starts with `fault-NAME` triggers that fault before its image is decoded.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import signal
import threading
import time
from functools import partial

__all__ = ["trigger"]


def trigger(request_id: str) -> None:
    """Trigger the fault that the request id names, if any."""
    _, _, name = request_id.partition("fault-")
    fault = FAULTS.get(name.partition("-")[0])
    if fault is not None:
        fault()


def _hang() -> None:
    """Hang in native code that never releases the GIL."""
    ctypes.PyDLL(None).sleep(3600)


def _spin() -> None:
    """Compute without end, in more threads than cores, so that other processes don't get most of the CPU time."""
    work = partial(hashlib.pbkdf2_hmac, "sha256", b"", b"", (1 << 31) - 1)
    for _ in range(8):
        threading.Thread(target=work, daemon=True).start()
    work()


def _nap() -> None:
    time.sleep(2)


def _allocate() -> None:
    """Allocate and touch memory without end."""
    blocks = []
    while True:
        blocks.append(bytearray(b"\1") * 8_000_000)


def _native_allocate() -> None:
    """Allocate without end in native code, then abort, as an uncaught bad_alloc does."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    while block := libc.malloc(8_000_000):
        ctypes.memset(block, 1, 8_000_000)
    os.abort()


def _segfault() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def _bus_error() -> None:
    os.kill(os.getpid(), signal.SIGBUS)


FAULTS = {
    "hang": _hang,
    "spin": _spin,
    "nap": _nap,
    "allocate": _allocate,
    "malloc": _native_allocate,
    "abort": os.abort,
    "segv": _segfault,
    "bus": _bus_error,
}
