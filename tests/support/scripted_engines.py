"""Engine processes whose answers are taken from a script."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

from app.engine.messages import EngineConfig
from app.engine.process import EngineDied
from app.engine.submission import Deadline, Outcome
from app.errors import ServiceError
from app.removal import Box, RemovalRequest, RemovalResult

__all__ = ["READY", "RESULT", "Script", "ScriptedEngine", "died"]

RESULT = RemovalResult(b"", "image/png", 1, 1, Box(), 1.0, "lite", {}, stages_mb={"decode": 70, "encode": 60})
READY = {"ready": True, "model": "lite", "provider": "CPUExecutionProvider", "rss_mb": 50}


def died(code: int, kind: type[EngineDied] = EngineDied) -> EngineDied:
    return kind(f"ended with {code}", code)


class ScriptedEngine:
    """An engine process whose answers are taken from a script; an exception is raised, and ends the engine."""

    def __init__(self, number: int, script: Script, on_exit: Callable[[], None]) -> None:
        self.pid = number
        self.exit_status: int | None = None
        self.death = "ended"
        self._cpu = 0.0
        self._script = script
        self._on_exit = on_exit
        self._ended = threading.Event()

    @property
    def alive(self) -> bool:
        return self.exit_status is None

    @property
    def cpu_seconds(self) -> float:
        self._cpu += self._script.cpu_step
        return self._cpu

    def warm_up(self, deadline: float, *, first: bool = False) -> dict[str, Any]:
        return self._play(self._script.warm_ups.pop(0) if self._script.warm_ups else READY)  # type: ignore[no-any-return]

    def remove(
        self, request: RemovalRequest, deadline: Deadline, *, alone: bool = False, fast: bool = False
    ) -> Iterator[tuple[int, Outcome]]:
        self._script.fast.append(fast)
        self._script.requests.append(request)
        for number in range(len(request.all_options)):
            answer = self._script.answers.pop(0) if self._script.answers else RESULT
            if answer == "hang":
                self._ended.wait()
                raise died(-signal.SIGKILL)
            yield number, answer if isinstance(answer, ServiceError) else self._play(answer)

    def _play(self, answer: Any) -> Any:
        if isinstance(answer, EngineDied):
            self.exit_status = answer.code
        if isinstance(answer, Exception):
            raise answer
        return answer

    def end(self, status: int) -> None:
        """End the process from outside."""
        self.exit_status = status
        self._on_exit()

    def hang_up(self) -> None:
        pass

    def kill(self) -> None:
        if self.alive:
            self.exit_status = -signal.SIGKILL
        self._ended.set()


class Script:
    """Answers of the next engines, and the engines that were started."""

    def __init__(self) -> None:
        self.warm_ups: list[dict[str, Any] | Exception] = []
        self.answers: list[RemovalResult | Exception | str] = []
        self.engines: list[ScriptedEngine] = []
        self.fast: list[bool] = []
        self.requests: list[RemovalRequest] = []
        self.cpu_step = 100.0  # between two readings

    def start_engine(self, config: EngineConfig, on_exit: Callable[[], None]) -> ScriptedEngine:
        self.engines.append(ScriptedEngine(len(self.engines), self, on_exit))
        return self.engines[-1]
