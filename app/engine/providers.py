"""Execution providers of onnxruntime: their names, and those of the installed package.

Only engines import onnxruntime, so another process asks a short-lived one for the installed providers.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

__all__ = ["CPU", "CUDA", "OPENVINO", "extra_mb", "installed_providers", "not_installed", "parse_providers"]

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
OPENVINO = "OpenVINOExecutionProvider"
SUFFIX = "ExecutionProvider"
SHORT_NAMES = {
    "cpu": CPU,
    "cuda": CUDA,
    "openvino": OPENVINO,
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
}
# Memory of an engine for a provider, beside that of the model, in MB: measured for OpenVINO with lite (92) and for CUDA
# on an H100 (about 1100), estimated for other GPUs.
EXTRA_MB = {CPU: 0, OPENVINO: 200}
GPU_MB = 1500
START_SECONDS = 60
LIST = "import onnxruntime; print(*onnxruntime.get_available_providers())"


def parse_providers(names: str | Sequence[str]) -> tuple[str, ...]:
    """Return onnxruntime's names of providers, which may be comma-separated; raise ValueError."""
    parts = names.split(",") if isinstance(names, str) else names
    return tuple(dict.fromkeys(_full_name(name) for name in map(str.strip, parts) if name)) or (CPU,)


def _full_name(name: str) -> str:
    """Return onnxruntime's name of a provider from this or a short name; raise ValueError."""
    if full := SHORT_NAMES.get(name.lower()):
        return full
    if name.endswith(SUFFIX) and name != SUFFIX and name.isalnum():
        return name
    raise ValueError(f"{name!r} is not an execution provider; use one of {', '.join(SHORT_NAMES)}, or …{SUFFIX}")


def extra_mb(providers: Sequence[str]) -> int:
    """Return the memory of an engine, in MB, that these providers need in addition to a model on the CPU."""
    return sum(EXTRA_MB.get(name, GPU_MB) for name in providers)


def installed_providers() -> tuple[str, ...]:
    """Return the providers of the installed onnxruntime; raise OSError if it can't be imported."""
    command = [sys.executable, "-c", LIST]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=START_SECONDS)  # noqa: S603  # constant
    except subprocess.TimeoutExpired:
        raise OSError(f"onnxruntime could not be imported within {START_SECONDS} s") from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise OSError(f"onnxruntime could not be imported: {last}")
    return tuple(done.stdout.split())


def not_installed(wanted: Sequence[str], installed: Sequence[str]) -> str:
    """Return an error text about the wanted providers that are not installed, "" if all are."""
    missing = [name for name in wanted if name not in installed]
    if not missing:
        return ""
    return f"{', '.join(missing)}: not in the installed onnxruntime, which has {', '.join(installed)}"
