"""Modules that a fresh interpreter loads."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.support.configuration import ROOT

__all__ = ["HEAVY", "PIXELS", "modules_after"]

PIXELS = {"numpy", "PIL", "cv2", "onnxruntime", "rembg"}
HEAVY = {"numba", "pymatting", "scipy", "skimage", "llvmlite"}


def modules_after(code: str) -> set[str]:
    """Return the top-level modules that are loaded after running some code in a fresh interpreter."""
    script = f"{code}\nimport json, sys\nprint(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(json.loads(done.stdout.splitlines()[-1]))
