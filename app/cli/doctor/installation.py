"""Checks of the installation: Python, packages, decoders, and features of the operating system."""

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

# A requirement without an environment marker: every Python needs it.
PINNED_EVERYWHERE = r"^([\w.-]+)==([^\s#;]+)[ \t]*(?:#.*)?$"
PROC = Path("/proc/self")
# Packages with the same module and other execution providers; their versions are not those of onnxruntime.
ONNXRUNTIME = ("onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml")


def check_python() -> Finding:
    """Report the version of Python; versions before 3.11 cannot import this module."""
    return Finding(Level.OK, "python", platform.python_version())


def check_packages(requirements: Path, name: str = "packages") -> Finding:
    """Compare installed packages with the pinned versions in a requirements file."""
    install = f"pip install -r {requirements.name}"
    try:
        pinned = dict(re.findall(PINNED_EVERYWHERE, requirements.read_text(encoding="utf-8"), re.MULTILINE))
    except OSError:
        return Finding(Level.WARN, name, f"{requirements.name} is missing: versions were not compared")
    if _installed_version("onnxruntime") is None and any(map(_installed_version, ONNXRUNTIME)):
        pinned.pop("onnxruntime", None)
    installed = {package: _installed_version(package) for package in pinned}
    missing = [package for package, version in installed.items() if version is None]
    if missing:
        return Finding(Level.FAIL, name, f"missing: {', '.join(missing)}", install)
    other = [
        f"{package} {installed[package]}, not {version}"
        for package, version in pinned.items()
        if installed[package] != version
    ]
    if other:
        return Finding(Level.WARN, name, f"untested versions: {'; '.join(other)}", install)
    return Finding(Level.OK, name, f"as pinned in {requirements.name} ({len(pinned)})")


def _installed_version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def check_rembg(settings: Settings, requirements: Path) -> Finding:
    """Check rembg, which only rembg's models need."""
    finding = check_packages(requirements, "rembg")
    if finding.level is not Level.FAIL:
        return finding
    needed = any(not REGISTRY[name].embedded for name in settings.allowed_models)
    return Finding(
        Level.FAIL if needed else Level.WARN,
        "rembg",
        f"not installed, and {'an allowed model needs it' if needed else 'only the embedded models work without it'}",
        f"pip install --no-deps -r {requirements.name}",
    )


def check_decoders() -> Finding:
    """Check the decoder that the service can run without."""
    if importlib.util.find_spec("pillow_heif") is None:
        return Finding(Level.OK, "decoders", "HEIC is not supported (415)", "To support it: pip install pillow-heif")
    return Finding(Level.OK, "decoders", "HEIC is supported")


def check_protections() -> Finding:
    """Check the operating system's features that isolate engines."""
    missing = [text for text, is_available in PROTECTIONS.items() if not is_available()]
    if os.environ.get("ENGINE_FAULTS") == "1":
        advice = "Unset ENGINE_FAULTS: it is for tests and lets any client crash engines."
        return Finding(Level.WARN, "protections", "ENGINE_FAULTS=1", advice)
    if missing:
        advice = "Run the service on Linux with /proc, without a hard data limit (ulimit -H -d, LimitDATA)."
        return Finding(Level.WARN, "protections", f"missing: {', '.join(missing)}", advice)
    return Finding(Level.OK, "protections", "memory caps, OOM preference, engines end with their worker")


def _can_cap_memory() -> bool:
    """Return whether an engine can set RLIMIT_DATA: no hard limit, and VmData in /proc."""
    with contextlib.suppress(ImportError, OSError):
        import resource

        has_vmdata = "VmData:" in (PROC / "status").read_text(encoding="ascii")
        return has_vmdata and resource.getrlimit(resource.RLIMIT_DATA)[1] == resource.RLIM_INFINITY
    return False


def _can_set_oom_score() -> bool:
    return os.access(PROC / "oom_score_adj", os.W_OK)


def _can_end_with_worker() -> bool:
    return sys.platform == "linux" and hasattr(ctypes.CDLL(None), "prctl")


def _can_detect_hang_ups() -> bool:
    return hasattr(select, "POLLRDHUP")


PROTECTIONS: dict[str, Callable[[], bool]] = {
    "memory cap of engines (RLIMIT_DATA)": _can_cap_memory,
    "OOM preference for engines (oom_score_adj)": _can_set_oom_score,
    "end of engines with their worker (prctl)": _can_end_with_worker,
    "detection of clients that hang up (POLLRDHUP)": _can_detect_hang_ups,
}
