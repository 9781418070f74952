"""Checks of the installation: Python, packages, decoders, and what the system offers."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import re
import select
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from app.cli.doctor.findings import Finding, Level
from app.engine.models import REGISTRY
from app.settings import Settings

__all__ = ["check_decoders", "check_packages", "check_protections", "check_python", "check_rembg"]

MIN_PYTHON = (3, 11)
# A line of requirements without a marker, which would say that only some Pythons need it.
PINNED_EVERYWHERE = r"^([\w.-]+)==([^\s#;]+)[ \t]*(?:#.*)?$"
PROC = Path("/proc/self")


def check_python(version: tuple[int, ...] = sys.version_info[:3]) -> Finding:
    """Look at the version of Python."""
    text = ".".join(map(str, version))
    if version < MIN_PYTHON:
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
