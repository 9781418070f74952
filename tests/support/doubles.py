"""A pretended pool for tests that are about HTTP alone."""

from __future__ import annotations

from dataclasses import replace

from flask import Flask

from app.engine.messages import EngineConfig
from app.engine.observer import EngineObserver, RestartReason
from app.engine.pool import EnginePool, PoolStatus
from app.engine.queue import EngineState, RemovalQueue
from app.engine.submission import Deadline, Outcome, Priority
from app.errors import ServiceError
from app.fetch.url_fetcher import UrlFetcher
from app.http.services import install, services_of
from app.jobs.service import open_jobs
from app.removal import Box, RemovalOptions, RemovalRequest, RemovalResult

STATUS = PoolStatus(
    engines=1,
    ready=1,
    restarting=0,
    states=(EngineState.IDLE,),
    pids=(),
    provider="CPUExecutionProvider",
    problem=None,
)


class FakePool(EnginePool):
    """Remember what was asked for; answer with a canned result, or raise `failure`."""

    def __init__(self) -> None:
        super().__init__(EngineConfig("lite", 1, 1, 1), 0, RemovalQueue(capacity=8, body_slots=8))
        self.observer = EngineObserver()
        self.requests: list[RemovalRequest] = []
        self.failure: Exception | None = None
        self.answer = STATUS
        self.input_size = (600, 400)
        self.under_load = False

    def attach(self, config: EngineConfig, processes: int, queue: RemovalQueue, observer: EngineObserver) -> EnginePool:
        """Return this pool, as the pool of an application."""
        self.queue, self.observer = queue, observer
        return self

    @property
    def options(self) -> RemovalOptions:
        """Return the options of the one request that was made."""
        (request,) = self.requests
        return request.options

    def submit(
        self, request: RemovalRequest, deadline: Deadline, priority: Priority = Priority.INTERACTIVE
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
            scaled_down=True,
            under_load=self.under_load,
        )

    def submit_all(self, request: RemovalRequest, deadline: Deadline) -> list[Outcome]:
        return [self._outcome(single, deadline) for single in request.singles]

    def status(self) -> PoolStatus:
        return self.answer


class Recorder(EngineObserver):
    """Observer that records why engines were replaced, their memory, and the options and models of results."""

    def __init__(self) -> None:
        self.removals: list[tuple[RemovalOptions, str]] = []
        self.reasons: list[RestartReason] = []
        self.megabytes: list[int] = []

    def removed(self, request: RemovalRequest, result: RemovalResult) -> None:
        self.removals.append((request.options, result.model))

    def replaced(self, reason: RestartReason) -> None:
        self.reasons.append(reason)

    def memory_seen(self, engine: int, megabytes: int) -> None:
        self.megabytes.append(megabytes)


def failing(pool: FakePool, error: ServiceError | Exception) -> FakePool:
    """Make the pool raise this error."""
    pool.failure = error
    return pool


def use_fetcher(app: Flask, fetcher: UrlFetcher) -> None:
    """Make an application and its jobs fetch URLs and send webhooks by this."""
    services = services_of(app)
    jobs = open_jobs(services.settings, services.pool, fetcher, services.metrics, services.pool.status().engines)
    install(app, replace(services, url_fetcher=fetcher, jobs=jobs))
