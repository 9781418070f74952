"""Import of rembg's session classes without rembg's dependencies.

`import rembg` imports pymatting, numba, scipy and scikit-image (220 MB, over a minute with a cold numba cache), and
`import rembg.sessions` imports scipy and jsonschema for a model that is not offered here. Both packages are therefore
registered by their spec without running their `__init__`, and only the required session module is imported.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import Any

from app.engine.models import ModelSpec
from app.errors import ModelUnavailable

__all__ = ["session_class"]


def session_class(model: ModelSpec) -> Any:
    """Return rembg's session class of a model; raise ModelUnavailable if rembg is not installed or too different."""
    try:
        package = _register("rembg")
        sessions = _register("rembg.sessions")
    except ModuleNotFoundError as missing:
        raise ModelUnavailable(
            f"Model {model.name!r} needs the package rembg, which is not installed.",
            solution="An operator can install it with: pip install --no-deps -r requirements-rembg.txt",
        ) from missing
    package.sessions = sessions
    if model.module.startswith("birefnet"):
        # The variants import their base class from the package (`from . import BiRefNetSessionGeneral`).
        base = importlib.import_module("rembg.sessions.birefnet_general")
        sessions.BiRefNetSessionGeneral = base.BiRefNetSessionGeneral
    module = importlib.import_module(f"rembg.sessions.{model.module}")
    for candidate in vars(module).values():
        if isinstance(candidate, type) and candidate.__module__ == module.__name__:
            return candidate
    raise ModelUnavailable(f"The installed rembg has no session for model {model.name!r}.")


def _register(name: str) -> Any:
    """Register a package in `sys.modules` without running its `__init__`."""
    if name not in sys.modules:
        spec = importlib.util.find_spec(name)
        if spec is None:
            raise ModuleNotFoundError(name)
        sys.modules[name] = importlib.util.module_from_spec(spec)
    return sys.modules[name]
