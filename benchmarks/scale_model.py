"""Discrete-event simulation of photos on machines with engines: jobs behind interactive requests, Redis in between."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass, field
from random import Random

import simpy

from app.jobs.work import SPARE_THREADS

__all__ = ["DAY", "Cluster", "Costs", "Day", "Outcome", "percentile", "simulate", "simulate_backlog"]

HOUR, DAY = 3600.0, 86_400.0
# Hour of the most photos.
PEAK_HOUR = 14.0
INTERACTIVE, BATCH = 0, 1

Steps = Generator[simpy.Event, object, None]


@dataclass(frozen=True, slots=True)
class Costs:
    """Measured seconds of a photo: in an engine, of a worker's thread besides, and of Redis' CPU.

    `engine_spread` is the standard deviation of the time in an engine, relative to its mean.
    """

    engine: float
    engine_spread: float
    thread: float
    redis: float


@dataclass(frozen=True, slots=True)
class Day:
    """Photos of a day; `peak` is the rate of the busiest hour relative to the mean, 1..2."""

    photos: float
    interactive_share: float
    photos_per_job: float
    peak: float

    def rate(self, at: float) -> float:
        """Return the photos per second at a second of the day."""
        wave = math.cos(2 * math.pi * (at / HOUR - PEAK_HOUR) / 24)
        return self.photos / DAY * (1 + (self.peak - 1) * wave)


@dataclass(frozen=True, slots=True)
class Cluster:
    """Machines, and the engines and threads of workers on each of them."""

    machines: int
    engines: int

    @property
    def threads(self) -> int:
        """Return the photos of jobs that a machine holds at a time."""
        return self.engines + SPARE_THREADS


@dataclass(slots=True)
class Outcome:
    """Seconds that photos have waited for an engine, in order of time; `busy` is the share of the engines' time."""

    batch: list[float] = field(default_factory=list)
    interactive: list[float] = field(default_factory=list)
    longest_queue: int = 0
    busy: float = 0.0
    redis_busy: float = 0.0
    seconds: float = 0.0


class _Backlog:
    """Photos of jobs in order of arrival, and the threads that wait for one."""

    def __init__(self, env: simpy.Environment, outcome: Outcome) -> None:
        self._env = env
        self._outcome = outcome
        self._jobs: deque[list[float]] = deque()  # of each job: time of arrival, photos left
        self._idle: deque[simpy.Event] = deque()
        self.length = 0

    def put(self, photos: int) -> None:
        """Add a job."""
        self._jobs.append([self._env.now, photos])
        self.length += photos
        self._outcome.longest_queue = max(self._outcome.longest_queue, self.length)
        for _ in range(min(photos, len(self._idle))):
            self._idle.popleft().succeed()

    def take(self) -> Generator[simpy.Event, object, float]:
        """Wait for a photo and return the time of its arrival."""
        while not self._jobs:
            self._idle.append(wake := self._env.event())
            yield wake
        job = self._jobs[0]
        job[1] -= 1
        self.length -= 1
        if not job[1]:
            self._jobs.popleft()
        return job[0]


class _System:
    """A cluster at work; Redis serves one command at a time, `redis_share` is the part of it for these machines."""

    def __init__(self, cluster: Cluster, costs: Costs, random: Random, redis_share: float = 1.0) -> None:
        self.env = simpy.Environment()
        self.outcome = Outcome()
        self.backlog = _Backlog(self.env, self.outcome)
        self._costs = costs
        self._random = random
        self._redis_seconds = costs.redis / redis_share
        self._redis_free = 0.0
        self._engine_seconds = 0.0
        self._redis_total = 0.0
        self._engines = [simpy.PriorityResource(self.env, cluster.engines) for _ in range(cluster.machines)]
        self._number = cluster.machines * cluster.engines
        self._batch_done = 0
        for engines in self._engines:
            for _ in range(cluster.threads):
                self.env.process(self._thread(engines))

    def request(self) -> None:
        """Add an interactive photo, at the next machine in turn."""
        self._engines.append(self._engines.pop(0))
        self.env.process(self._removal(self._engines[0], INTERACTIVE, self.env.now))

    def finish(self, until: float) -> Outcome:
        """Run until a time, and return the outcome."""
        self.env.run(until=until)
        return self._summary()

    def finish_batch(self, photos: int) -> Outcome:
        """Run until so many photos of jobs are done, and return the outcome."""
        while self._batch_done < photos:
            self.env.step()
        return self._summary()

    def _summary(self) -> Outcome:
        outcome = self.outcome
        outcome.seconds = self.env.now
        outcome.busy = self._engine_seconds / (self._number * self.env.now)
        outcome.redis_busy = self._redis_total / self.env.now
        return outcome

    def _thread(self, engines: simpy.PriorityResource) -> Steps:
        """Process photos of jobs: take one from Redis, read it, remove, store the result."""
        while True:
            arrived = yield from self.backlog.take()
            yield self.env.timeout(self._redis_wait() + self._costs.thread)
            yield from self._removal(engines, BATCH, arrived)
            self._batch_done += 1

    def _redis_wait(self) -> float:
        """Return the time until Redis has served the commands of a photo, in order of arrival."""
        self._redis_free = max(self._redis_free, self.env.now) + self._redis_seconds
        self._redis_total += self._redis_seconds
        return self._redis_free - self.env.now

    def _removal(self, engines: simpy.PriorityResource, priority: int, arrived: float) -> Steps:
        with engines.request(priority=priority) as engine:
            yield engine
            waits = self.outcome.batch if priority == BATCH else self.outcome.interactive
            waits.append(self.env.now - arrived)
            seconds = self._service_seconds()
            self._engine_seconds += seconds
            yield self.env.timeout(seconds)

    def _service_seconds(self) -> float:
        """Return a time in an engine, of a log-normal distribution."""
        if not self._costs.engine_spread:
            return self._costs.engine
        variance = math.log(1 + self._costs.engine_spread**2)
        return self._random.lognormvariate(math.log(self._costs.engine) - variance / 2, math.sqrt(variance))


def simulate(day: Day, cluster: Cluster, costs: Costs, *, hours: float, redis_share: float = 1.0) -> Outcome:
    """Return the outcome of `hours` around the peak of a day that begin with an empty queue."""
    random = Random(1)  # noqa: S311  # reproducible, not secret
    system = _System(cluster, costs, random, redis_share)
    began = (PEAK_HOUR - hours / 2) * HOUR
    if day.interactive_share < 1:
        system.env.process(_jobs(system, day, began, random))
    if day.interactive_share > 0:
        system.env.process(_requests(system, day, began, random))
    return system.finish(hours * HOUR)


def simulate_backlog(photos: int, cluster: Cluster, costs: Costs) -> Outcome:
    """Return the outcome of one job on an idle cluster, from its arrival to its last photo's end."""
    system = _System(cluster, costs, Random(1))  # noqa: S311
    system.backlog.put(photos)
    return system.finish_batch(photos)


def _jobs(system: _System, day: Day, began: float, random: Random) -> Steps:
    while True:
        rate = day.rate(began + system.env.now) * (1 - day.interactive_share) / day.photos_per_job
        yield system.env.timeout(random.expovariate(rate))
        system.backlog.put(math.ceil(random.expovariate(1 / day.photos_per_job)))


def _requests(system: _System, day: Day, began: float, random: Random) -> Steps:
    while True:
        yield system.env.timeout(random.expovariate(day.rate(began + system.env.now) * day.interactive_share))
        system.request()


def percentile(values: list[float], share: float) -> float:
    """Return a percentile, 0 without values."""
    return sorted(values)[math.ceil(share * len(values)) - 1] if values else 0.0
