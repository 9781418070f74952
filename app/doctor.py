"""Look an installation over and explain what is found: `python -m app doctor`.

A check is a function that returns one Finding. Like the rest of the command line this module imports no numpy, Pillow
or onnxruntime: whether those work is seen in an engine, which is a process of its own.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import http.client
import importlib.util
import json
import os
import re
import select
import socket
import struct
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from importlib import metadata
from pathlib import Path

import psutil
from dotenv import dotenv_values

from app.engine import weights
from app.engine.container import MEGABYTE, cpu_quota, memory_limit
from app.engine.keeper import START_SECONDS
from app.engine.messages import EngineConfig
from app.engine.models import REGISTRY
from app.engine.process import EngineDied, EngineProcess
from app.errors import OutOfMemory, ServiceError, from_code
from app.http.presets import load_presets
from app.layout import LEAST_HEADROOM_MB, WEB_MB, Layout, engine_layout, most_memory_mb
from app.removal import RemovalOptions, RemovalRequest
from app.settings import Settings, SettingsError, load_settings

__all__ = ["Finding", "Level", "examine", "summary"]

ROOT = Path(__file__).parent.parent
LEAST_PYTHON = (3, 11)
# A line of requirements without a marker, which would say that only some Pythons need it.
PINNED_EVERYWHERE = r"^([\w.-]+)==([^\s#;]+)[ \t]*(?:#.*)?$"
HEALTH_SECONDS = 3.0
PROC = Path("/proc/self")


class Level(StrEnum):
    """How bad it is: the service works, works less well than it could, does not work."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found, and what to do about it."""

    level: Level
    name: str
    found: str
    advice: str = ""

    def __str__(self) -> str:
        return f"{self.level:4}  {self.name:11}  {self.found}" + (f" -> {self.advice}" if self.advice else "")


def examine(env_file: str = ".env") -> Iterator[Finding]:
    """Yield the findings one by one; after a bad setting, only those that need no settings."""
    yield check_python()
    yield check_packages(ROOT / "requirements.txt")
    try:
        settings = load_settings(env_file)
        load_presets(settings.presets_file)
    except SettingsError as error:
        yield bad_settings(error)
        yield check_decoders()
        yield check_protections()
        return
    layout = engine_layout(settings)
    yield check_settings(env_file)
    yield check_layout(settings, layout)
    yield check_memory(settings, layout)
    yield check_default_model(settings)
    yield check_other_models(settings)
    yield check_rembg(settings, ROOT / "requirements-rembg.txt")
    yield check_decoders()
    yield check_protections()
    yield check_output(settings.output_dir)
    yield check_port(settings)
    yield check_engine(layout.config)


def summary(findings: Sequence[Finding]) -> str:
    """Say in one line how it looks."""
    bad = sum(finding.level is Level.FAIL for finding in findings)
    doubtful = sum(finding.level is Level.WARN for finding in findings)
    if bad:
        return f"{bad} of {len(findings)} checks failed: the service does not work like this."
    if doubtful:
        return f"The service works; {doubtful} of {len(findings)} checks have a warning."
    return f"All {len(findings)} checks are fine."


def check_python(version: tuple[int, ...] = sys.version_info[:3]) -> Finding:
    """Look at the version of Python."""
    text = ".".join(map(str, version))
    if version < LEAST_PYTHON:
        return Finding(Level.FAIL, "python", f"this is {text}", "Install Python 3.11 or newer, then make clean setup.")
    return Finding(Level.OK, "python", text)


def check_packages(requirements: Path, name: str = "packages") -> Finding:
    """Compare what is installed with what a file of requirements pins."""
    install = f"pip install -r {requirements.name}"
    try:
        pinned = dict(re.findall(PINNED_EVERYWHERE, requirements.read_text(encoding="utf-8"), re.MULTILINE))
    except OSError:
        return Finding(Level.WARN, name, f"{requirements.name} is not here, so versions were not compared")
    modules = _modules_by_distribution()
    missing = [package for package in pinned if not _importable(package, modules)]
    if missing:
        return Finding(Level.FAIL, name, f"missing: {', '.join(missing)}", install)
    here = {package: metadata.version(package) for package in pinned}
    other = [
        f"{package} {here[package]}, not {pinned[package]}" for package in pinned if here[package] != pinned[package]
    ]
    if other:
        return Finding(Level.WARN, name, f"other versions than tested: {'; '.join(other)}", install)
    return Finding(Level.OK, name, f"{len(pinned)} of {requirements.name}, as pinned")


def _modules_by_distribution() -> dict[str, list[str]]:
    """Return the top-level modules of every installed distribution, by its normalised name."""
    modules: dict[str, list[str]] = {}
    for module, distributions in metadata.packages_distributions().items():
        for distribution in distributions:
            modules.setdefault(_normalised(distribution), []).append(module)
    return modules


def _normalised(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _importable(package: str, modules: dict[str, list[str]]) -> bool:
    """Tell whether a package is installed and one of its modules found, without importing it."""
    found = modules.get(_normalised(package), ())
    return any(module.isidentifier() and importlib.util.find_spec(module) is not None for module in found)


def bad_settings(error: SettingsError) -> Finding:
    """Put a settings error into one line."""
    advice = "Correct it in the environment or in .env (docs/settings.md); then run this again for the other checks."
    return Finding(Level.FAIL, "settings", "; ".join(map(str, error.problems)), advice)


def check_settings(env_file: str) -> Finding:
    """Look for names in .env that are no settings: typing errors have no effect otherwise, and no message."""
    names = dotenv_values(env_file, encoding="utf-8") if Path(env_file).is_file() else {}
    unknown = [name for name in names if name.lower() not in Settings.model_fields]
    if unknown:
        return Finding(
            Level.WARN,
            "settings",
            f"{env_file} has names that are no settings: {', '.join(unknown)}",
            "They have no effect. docs/settings.md has every name.",
        )
    return Finding(Level.OK, "settings", f"valid; {len(names)} in {env_file}" if names else "valid")


def check_layout(settings: Settings, layout: Layout) -> Finding:
    """Show cores, memory and what follows from them."""
    cores = cpu_quota()
    profile = "low" if settings.low_memory else "standard"
    found = (
        f"{_count(cores, 'core')}, {memory_limit() // MEGABYTE} MB: {_count(settings.web_concurrency, 'web worker')} "
        f"with {_count(layout.processes, 'engine')} of {_count(layout.config.threads, 'thread')}, "
        f"at most {layout.config.memory_mb} MB each; memory profile {profile}"
    )
    if settings.web_concurrency * layout.processes * layout.config.threads > cores:
        advice = "More threads than cores make every photo slower: lower ENGINE_PROCESSES, ENGINE_THREADS or "
        return Finding(Level.WARN, "layout", found, advice + "WEB_CONCURRENCY, or leave them empty.")
    return Finding(Level.OK, "layout", found)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def check_memory(settings: Settings, layout: Layout) -> Finding:
    """Add up all that may be in memory at once, and compare it with the limit."""
    limit = memory_limit() // MEGABYTE
    model_mb = max(REGISTRY[name].memory_mb for name in settings.allowed_models)
    least = settings.web_concurrency * (WEB_MB + layout.processes * model_mb)
    most = most_memory_mb(settings, layout)
    if least > limit:
        advice = "Choose a smaller model (MODEL_NAME, MODELS_ALLOWED) or fewer engines (ENGINE_PROCESSES)."
        return Finding(Level.FAIL, "memory", f"idle engines alone take {least} MB of {limit} MB", advice)
    if most > limit:
        cache = "CACHE_MAX_MB, " if settings.cache_in_memory else ""
        advice = f"Lower {cache}ENGINE_PROCESSES, ENGINE_MEMORY_MB, MAX_CONCURRENT_UPLOADS or MAX_CONTENT_LENGTH."
        return Finding(Level.WARN, "memory", f"{_takers(settings)} may take {most} MB of {limit} MB", advice)
    if layout.config.memory_mb < model_mb + LEAST_HEADROOM_MB:
        advice = f"Set ENGINE_MEMORY_MB to {model_mb + LEAST_HEADROOM_MB} or more, or leave it empty."
        found = f"a cap of {layout.config.memory_mb} MB leaves an engine with a {model_mb} MB model no room for photos"
        return Finding(Level.WARN, "memory", found, advice)
    if layout.config.memory_warn_mb <= model_mb:
        advice = f"Set MEMORY_WARN_MB to more than {model_mb}, or leave it empty."
        found = (
            f"the mark of {layout.config.memory_warn_mb} MB replaces an engine with a {model_mb} MB model all the time"
        )
        return Finding(Level.WARN, "memory", found, advice)
    return Finding(Level.OK, "memory", f"{_takers(settings)} take at most {most} MB of {limit} MB")


def _takers(settings: Settings) -> str:
    return "engines, uploads and kept results" if settings.cache_in_memory else "engines and uploads"


def check_default_model(settings: Settings) -> Finding:
    """Look for the default model's weights."""
    model = REGISTRY[settings.model_name]
    if weights.find(model, settings.rembg_home) is None:
        advice = "reinstall the service" if model.embedded else f"python -m app models pull {model.name}"
        return Finding(Level.FAIL, "model", f"the weights of {model.name} are not here", advice)
    return Finding(Level.OK, "model", f"{model.name}, licence: {model.licence}")


def check_other_models(settings: Settings) -> Finding:
    """Look for the weights of the other models that a request may name."""
    others = settings.allowed_models[1:]
    missing = [name for name in others if weights.find(REGISTRY[name], settings.rembg_home) is None]
    if missing:
        commands = "; ".join(f"python -m app models pull {name}" for name in missing)
        return Finding(Level.WARN, "models", f"allowed, but not here: {', '.join(missing)}", commands)
    return Finding(Level.OK, "models", f"also here: {', '.join(others)}" if others else "no others are allowed")


def check_rembg(settings: Settings, requirements: Path) -> Finding:
    """Look for rembg, which only its own models need."""
    finding = check_packages(requirements, "rembg")
    if finding.level is not Level.FAIL:
        return finding
    needed = any(not REGISTRY[name].embedded for name in settings.allowed_models)
    return Finding(
        Level.FAIL if needed else Level.WARN,
        "rembg",
        f"not installed, and {'an allowed model needs it' if needed else 'only the embedded model works without it'}",
        f"pip install --no-deps -r {requirements.name}",
    )


def check_decoders() -> Finding:
    """Look for the optional decoder."""
    if importlib.util.find_spec("pillow_heif") is None:
        return Finding(Level.OK, "decoders", "HEIC is answered with 415", "To read it: pip install pillow-heif")
    return Finding(Level.OK, "decoders", "HEIC is read, too")


def check_protections() -> Finding:
    """Look for what the system offers to keep engines in their place."""
    missing = [text for text, here in PROTECTIONS.items() if not here()]
    if os.environ.get("ENGINE_FAULTS") == "1":
        advice = "Unset ENGINE_FAULTS: with it any client can bring engines down. It is for tests."
        return Finding(Level.WARN, "protections", "ENGINE_FAULTS=1", advice)
    if missing:
        advice = "Run the service on Linux with /proc, and set no hard limit of data (ulimit -H -d, LimitDATA)."
        return Finding(Level.WARN, "protections", f"missing: {', '.join(missing)}", advice)
    return Finding(Level.OK, "protections", "memory caps, engines first to go, engines end with their worker")


def _can_cap_memory() -> bool:
    """Tell whether an engine can limit its data: RLIMIT_DATA with a hard limit that is still open."""
    with contextlib.suppress(ImportError, OSError):
        import resource

        says = "VmData:" in (PROC / "status").read_text(encoding="ascii")
        return says and resource.getrlimit(resource.RLIMIT_DATA)[1] == resource.RLIM_INFINITY
    return False


def _can_go_first() -> bool:
    return os.access(PROC / "oom_score_adj", os.W_OK)


def _can_die_with_owner() -> bool:
    return sys.platform == "linux" and hasattr(ctypes.CDLL(None), "prctl")


def _sees_hang_ups() -> bool:
    return hasattr(select, "POLLRDHUP")


PROTECTIONS: dict[str, Callable[[], bool]] = {
    "the memory cap of an engine (RLIMIT_DATA)": _can_cap_memory,
    "engines first to go when memory runs out (oom_score_adj)": _can_go_first,
    "engines that end with their worker (prctl)": _can_die_with_owner,
    "noticing clients that hang up (POLLRDHUP)": _sees_hang_ups,
}


def check_output(folder: Path) -> Finding:
    """See whether results could be kept, which only save=true asks for."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not (existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)):
        return Finding(Level.WARN, "output", f"save=true can't write to {folder}", "Correct OUTPUT_DIR or its rights.")
    return Finding(Level.OK, "output", f"{folder}, for save=true")


def check_port(settings: Settings) -> Finding:
    """Try to listen where the service would; when that is taken, see whether the service has taken it."""
    address = f"{settings.host}:{settings.port}"
    try:
        family, kind, _, _, target = socket.getaddrinfo(
            settings.host.strip("[]"), settings.port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(target)
            probe.listen()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return _who_answers(address, settings)
        advice = "Set HOST to an address of this machine, and PORT to one that you may use (1024 and up)."
        return Finding(Level.FAIL, "port", f"{address} can't be listened on: {error.strerror or error}", advice)
    return Finding(Level.OK, "port", f"{address} is free")


def _who_answers(address: str, settings: Settings) -> Finding:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host.strip("[]"), settings.host)  # noqa: S104
    connection = http.client.HTTPConnection(host, settings.port, timeout=HEALTH_SECONDS)
    try:
        connection.request("GET", "/health")
        report = json.loads(connection.getresponse().read())
        status, name = str(report["status"]), str(report["name"])
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return Finding(Level.FAIL, "port", f"{address} is taken by another program", "End it, or set PORT.")
    finally:
        connection.close()
    if status != "healthy":
        return Finding(Level.WARN, "port", f"{name} answers on {address}: {status}", "Look at its /health and its log.")
    return Finding(Level.OK, "port", f"{name} answers on {address}: healthy")


def check_engine(config: EngineConfig, seconds: float = START_SECONDS) -> Finding:
    """Start an engine and have it work on a photo, as the service would."""
    try:
        return Finding(Level.OK, "engine", _work_on_a_photo(config, seconds))
    except OutOfMemory as error:  # whose own advice is for those who send photos
        found = f"the smallest photo is too large for it: {error.details}"
        return Finding(Level.FAIL, "engine", found, "Raise ENGINE_MEMORY_MB, or leave it empty.")
    except ServiceError as error:
        return Finding(Level.FAIL, "engine", f"{error.code}: {error.message} {error.details}".strip(), error.advice)
    except (EngineDied, OSError, psutil.Error) as error:  # a TimeoutError is an OSError
        advice = "What it wrote stands above. Reinstall the packages, or give it more memory (ENGINE_MEMORY_MB)."
        return Finding(Level.FAIL, "engine", f"no photo came out: {error}", advice)


def _work_on_a_photo(config: EngineConfig, seconds: float) -> str:
    """Return how an engine did; raise ServiceError, EngineDied or OSError when it did not."""
    started = time.monotonic()
    engine = EngineProcess(replace(config, log_level="WARNING"), on_exit=lambda: None)
    try:
        answer = engine.warm_up(started + seconds, first=True)
        if isinstance(problem := answer.get("error"), dict):
            raise from_code(**problem)
        ready = time.monotonic()
        request = RemovalRequest(small_photo(), RemovalOptions(config.model, longest_side=256), request_id="doctor")
        engine.remove(request, ready + seconds)
        done = time.monotonic()
        resident = psutil.Process(engine.pid).memory_info().rss // MEGABYTE
    finally:
        engine.kill()
    times = f"ready in {ready - started:.1f} s, a small photo in {(done - ready) * 1000:.0f} ms"
    return f"{answer['model']} on {answer['provider']}: {times}, {resident} MB"


def small_photo(side: int = 64) -> bytes:
    """Return a PNG of a bright disc on a dark ground, made without Pillow."""

    def pixel(x: int, y: int) -> bytes:
        inside = (x - side / 2) ** 2 + (y - side / 2) ** 2 < (side / 3) ** 2
        return bytes((230, 120 + x, 60 + y)) if inside else bytes((20, 30, 40 + y))

    rows = b"".join(b"\0" + b"".join(pixel(x, y) for x in range(side)) for y in range(side))
    head = struct.pack("!IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack("!I", len(data)) + kind + data + struct.pack("!I", zlib.crc32(kind + data))
