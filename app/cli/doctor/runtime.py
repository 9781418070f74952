"""Checks at run time: output folder, Redis, port, and a photo through an engine."""

from __future__ import annotations

import errno
import http.client
import json
import socket
import struct
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
from redis import RedisError

from app.cache.redis_store import RedisStore
from app.cli.doctor.findings import Finding, Level
from app.cli.doctor.workers import check_workers
from app.engine.container import MEGABYTE
from app.engine.keeper import START_SECONDS
from app.engine.messages import EngineConfig
from app.engine.process import EngineDied, EngineProcess
from app.engine.submission import Deadline
from app.errors import OutOfMemory, ServiceError, from_code
from app.jobs.database import examine
from app.jobs.service import DATABASE
from app.limits import open_storage, probe_of
from app.observability.disk import least_space
from app.removal import RemovalOptions, RemovalRequest
from app.settings import Settings
from app.storage import write_problem

__all__ = ["check_engine", "check_jobs", "check_output", "check_port", "check_redis", "small_photo"]

HEALTH_SECONDS = 3.0


def check_output(folder: Path) -> Finding:
    """Check that save=true can write results."""
    if problem := write_problem(folder / "file"):
        found, advice = f"save=true can't write to {folder}: {problem}", "Correct OUTPUT_DIR or its permissions."
        return Finding(Level.WARN, "output", found, advice)
    return Finding(Level.OK, "output", f"{folder}, for save=true")


def check_jobs(settings: Settings) -> Finding:
    """Check the folder of jobs, its free space, and all of its state; or the workers."""
    if settings.jobs_backend == "celery":
        return check_workers(settings)
    if settings.jobs_backend != "local":
        return Finding(Level.OK, "jobs", f"JOBS_BACKEND={settings.jobs_backend}")
    folder = settings.jobs_dir
    state = folder / DATABASE
    if problem := write_problem(state):
        advice = "Correct JOBS_DIR or its permissions, or set JOBS_BACKEND=off."
        return Finding(Level.FAIL, "jobs", f"jobs can't write to {folder}: {problem}", advice)
    if problem := examine(state) if state.exists() else "":
        return Finding(Level.FAIL, "jobs", problem, "The log says what to do: jobs.unavailable.")
    space = least_space([folder])
    if space is not None and space.free < settings.jobs_max_bytes:
        advice = "Free some space, or lower JOBS_MAX_BYTES or JOBS_TTL."
        return Finding(Level.WARN, "jobs", f"{folder} has {space.free_mb} MB free, less than JOBS_MAX_BYTES", advice)
    return Finding(Level.OK, "jobs", f"{folder}, for one machine")


def check_redis(settings: Settings) -> Finding:
    """Write to each Redis that the settings name, as the service does."""
    uses = _redis_uses(settings)
    if not uses:
        return Finding(Level.OK, "redis", "not in use")
    problems = [f"{name}: {problem}" for name, write in uses.items() if (problem := _problem_of(write))]
    if problems:
        advice = "Start Redis, or correct its address. Meanwhile limits are counted per worker, and results not cached."
        return Finding(Level.FAIL, "redis", "; ".join(problems), advice)
    return Finding(Level.OK, "redis", f"{', '.join(uses)}: can be written to")


def _redis_uses(settings: Settings) -> dict[str, Callable[[], object]]:
    """Return a test write for each setting that names a Redis in use."""
    uses: dict[str, Callable[[], object]] = {}
    if settings.rate_limit_storage == "redis":
        uses["REDIS_URL"] = probe_of(open_storage(settings.redis_url.get_secret_value()))
    if settings.cache_url is not None and not settings.cache_in_memory:
        url = settings.cache_url.get_secret_value()
        uses["CACHE_URL"] = lambda: RedisStore(url, settings.cache_max_mb * MEGABYTE, settings.cache_ttl).probe()
    return uses


def _problem_of(write: Callable[[], object]) -> str:
    try:
        write()
    except (RedisError, OSError, ValueError) as error:  # ValueError: an invalid host name
        return str(error)
    return ""


def check_port(settings: Settings) -> Finding:
    """Try to listen on the service's port; if it is in use, check whether the service itself uses it."""
    address = f"{settings.host}:{settings.port}"
    try:
        family, kind, _, _, target = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(target)
            probe.listen()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return _check_listener(address, settings)
        advice = "Set HOST to an address of this machine, and PORT to an allowed port (1024 and up)."
        return Finding(Level.FAIL, "port", f"cannot listen on {address}: {error.strerror or error}", advice)
    return Finding(Level.OK, "port", f"{address} is free")


def _check_listener(address: str, settings: Settings) -> Finding:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104
    connection = http.client.HTTPConnection(host, settings.port, timeout=HEALTH_SECONDS)
    try:
        connection.request("GET", "/health")
        report = json.loads(connection.getresponse().read())
        status, name = str(report["status"]), str(report["name"])
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return Finding(Level.FAIL, "port", f"{address} is in use by another program", "End it, or set PORT.")
    finally:
        connection.close()
    if status != "healthy":
        level = Level.WARN if status == "degraded" else Level.FAIL
        return Finding(level, "port", f"{name} answers on {address}: {status}", "See its /health and its log.")
    return Finding(Level.OK, "port", f"{name} answers on {address}: healthy")


def check_engine(config: EngineConfig) -> Finding:
    """Start an engine and process a photo with it."""
    try:
        return Finding(Level.OK, "engine", _process_photo(config))
    except OutOfMemory as error:  # its own advice is for clients
        found = f"not enough memory for a small photo: {error.details}"
        return Finding(Level.FAIL, "engine", found, "Raise ENGINE_MEMORY_MB, or leave it empty.")
    except ServiceError as error:
        return Finding(Level.FAIL, "engine", f"{error.code}: {error.message} {error.details}".strip(), error.advice)
    except (EngineDied, OSError, psutil.Error) as error:  # a TimeoutError is an OSError
        advice = "See its output above. Reinstall the packages, or raise ENGINE_MEMORY_MB."
        return Finding(Level.FAIL, "engine", f"processing a photo failed: {error}", advice)


def _process_photo(config: EngineConfig) -> str:
    """Return model, provider, times and memory; raise ServiceError, EngineDied or OSError."""
    started = time.monotonic()
    # Without the log file: one of this user could be closed to the service's.
    quiet = replace(config, log_level="WARNING", log_file="")
    engine = EngineProcess(quiet, on_exit=lambda: None)
    try:
        answer = engine.warm_up(started + START_SECONDS, first=True)
        if isinstance(problem := answer.get("error"), dict):
            raise from_code(**problem)
        ready = time.monotonic()
        request = RemovalRequest(small_photo(), RemovalOptions(config.model, longest_side=256), request_id="doctor")
        _, outcome = next(engine.remove(request, Deadline.after(START_SECONDS)))
        if isinstance(outcome, ServiceError):
            raise outcome
        done = time.monotonic()
        resident = psutil.Process(engine.pid).memory_info().rss // MEGABYTE
    finally:
        engine.kill()
    times = f"ready in {ready - started:.1f} s, a small photo in {(done - ready) * 1000:.0f} ms"
    return f"{answer['model']} on {answer['provider']}: {times}, {resident} MB"


def small_photo() -> bytes:
    """Return a PNG of a bright disc on a dark background, made without Pillow."""
    side = 64

    def pixel(x: int, y: int) -> bytes:
        inside = (x - side / 2) ** 2 + (y - side / 2) ** 2 < (side / 3) ** 2
        return bytes((230, 120 + x, 60 + y)) if inside else bytes((20, 30, 40 + y))

    rows = b"".join(b"\0" + b"".join(pixel(x, y) for x in range(side)) for y in range(side))
    head = struct.pack("!IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack("!I", len(data)) + kind + data + struct.pack("!I", zlib.crc32(kind + data))
