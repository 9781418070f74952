"""Attempts during which services reach their Redis: on a busy machine a command may take longer than they wait."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from tests.support.service import Service
from tests.support.waiting import wait_until

__all__ = ["undisturbed"]

R = TypeVar("R")


def undisturbed(attempt: Callable[[], R], *services: Service) -> R:
    """Return the result of the first attempt during which no worker of the services had to do without Redis."""
    while True:
        wait_until(lambda: all(_circuits(*services).values()))
        before = _losses(*services)
        result = attempt()
        if _losses(*services) == before:
            return result


def _losses(*services: Service) -> int:
    return sum(service.log.read_text().count(".storage_down ") for service in services)


def _circuits(*services: Service) -> dict[tuple[str, str], bool]:
    """Return whether Redis was reached last, by process and name of the circuit."""
    text = "\n".join(service.log.read_text() for service in services)
    found = re.findall(r" \[(\d+)\] .*?([\w-]+)\.storage_(up|down)\b", text)
    return {(process, name): state == "up" for process, name, state in found}
