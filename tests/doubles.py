"""A pretended pool for tests that are about HTTP alone."""

from __future__ import annotations

from collections.abc import Callable

from app.engine.keeper import EngineState
from app.engine.messages import EngineConfig
from app.engine.pool import EnginePool, PoolStatus
from app.errors import ServiceError
from app.removal import Box, RemovalOptions, RemovalRequest, RemovalResult

STATUS = PoolStatus(
    engines=1,
    ready=1,
    restarting=0,
    states=(EngineState.IDLE,),
    pids=(),
    queued=0,
    queue_capacity=4,
    closing=False,
    service_seconds=0.2,
    provider="CPUExecutionProvider",
    problem=None,
)


class FakePool(EnginePool):
    """Remember what was asked for; answer with a canned result, or raise `failure`."""

    def __init__(self) -> None:
        super().__init__(EngineConfig("lite", 1, 1, 1), processes=0, queue_size=0)
        self.requests: list[RemovalRequest] = []
        self.failure: Exception | None = None
        self.answer = STATUS
        self.input_size = (600, 400)

    @property
    def options(self) -> RemovalOptions:
        """Return the options of the one request that was made."""
        (request,) = self.requests
        return request.options

    def submit(
        self, request: RemovalRequest, deadline: float, abandoned: Callable[[], bool] = lambda: False
    ) -> RemovalResult:
        self.requests.append(request)
        if self.failure is not None:
            raise self.failure
        return RemovalResult(
            b"picture",
            "image/png",
            30,
            20,
            Box(1, 2, 3, 4),
            0.9,
            "lite",
            {"queue": 0.1, "infer": 2.0},
            input_size=self.input_size,
            max_size=(300, 200),
        )

    def status(self) -> PoolStatus:
        return self.answer


def failing(pool: FakePool, error: ServiceError | Exception) -> FakePool:
    """Make the pool raise this error."""
    pool.failure = error
    return pool
