"""Checks of the installation: Python, packages, decoders, and what the system offers."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import platform
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

# A line of requirements without a marker, which would say that only some Pythons need it.
PINNED_EVERYWHERE = r"^([\w.-]+)==([^\s#;]+)[ \t]*(?:#.*)?$"
PROC = Path("/proc/self")


def check_python() -> Finding:
    """Show the version of Python; an older one than 3.11 cannot import this module."""
    return Finding(Level.OK, "python", platform.python_version())


def check_packages(requirements: Path, name: str = "packages") -> Finding:
    """Compare what is installed with what a file of requirements pins."""
    install = f"pip install -r {requirements.name}"
    try:
        pinned = dict(re.findall(PINNED_EVERYWHERE, requirements.read_text(encoding="utf-8"), re.MULTILINE))
    except OSError:
        return Finding(Level.WARN, name, f"{requirements.name} is not here, so versions were not compared")
    here = {package: _installed_version(package) for package in pinned}
    missing = [package for package, version in here.items() if version is None]
    if missing:
        return Finding(Level.FAIL, name, f"missing: {', '.join(missing)}", install)
    other = [
        f"{package} {here[package]}, not {version}" for package, version in pinned.items() if here[package] != version
    ]
    if other:
        return Finding(Level.WARN, name, f"other versions than tested: {'; '.join(other)}", install)
    return Finding(Level.OK, name, f"{len(pinned)} of {requirements.name}, as pinned")


def _installed_version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


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
