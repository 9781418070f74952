"""Ways to fail on purpose, so that tests can see the service survive them. Only with EngineConfig.faults.

A request whose id starts with `fault-NAME` meets the fault of that name before its image is decoded.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time

__all__ = ["trigger"]


def trigger(request_id: str) -> None:
    """Fail as the request's id asks for."""
    _, _, name = request_id.partition("fault-")
    fault = FAULTS.get(name.partition("-")[0])
    if fault is not None:
        fault()


def _hang() -> None:
    """Hang in native code that never lets go of the interpreter."""
    ctypes.PyDLL(None).sleep(3600)


def _nap() -> None:
    time.sleep(2)


def _allocate() -> None:
    """Allocate without end, and touch what was allocated."""
    hoard = []
    while True:
        hoard.append(bytearray(b"\1") * 8_000_000)


def _native_allocate() -> None:
    """Do the same in native code, which aborts as an uncaught bad_alloc does."""
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
    "nap": _nap,
    "allocate": _allocate,
    "malloc": _native_allocate,
    "abort": os.abort,
    "segv": _segfault,
    "bus": _bus_error,
}
