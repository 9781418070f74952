"""Engines as the queue sees them."""

from __future__ import annotations

from dataclasses import dataclass

from app.engine.queue import EngineState
from app.errors import ServiceError

__all__ = ["Engine"]


@dataclass(eq=False)
class Engine:
    """A fake consumer."""

    model: str = "lite"
    state: EngineState = EngineState.IDLE
    ready: bool = True
    alive: bool = True
    start_problem: ServiceError | None = None
