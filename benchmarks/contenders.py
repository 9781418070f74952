"""Servers of the side-by-side benchmark: rembg's own and this one, with the same ONNX files and photos."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import venv
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlencode

from app.engine.models import REGISTRY
from app.engine.weights import find
from benchmarks.client import Post
from benchmarks.server import HOST, ROOT, Service, free_port, running_server, running_service

__all__ = [
    "REMBG",
    "REMBG_FOLDER",
    "Contender",
    "Model",
    "embedded_model",
    "install_rembg",
    "model_from",
    "our_server",
    "rembg_server",
]

REMBG = "rembg"
# One of rembg's model names, for a graph with the inputs and outputs of U2-Net in our service.
STAND_IN = "silueta"
# Name of rembg's session for custom files, and of its folder below REMBG_HOME.
CUSTOM = "u2net_custom"
REMBG_FOLDER = ROOT / ".venv-rembg"


@dataclass(frozen=True, slots=True)
class Model:
    """An ONNX file and its REMBG_HOME, which both servers read; `ours` is the settings of our server for it."""

    name: str
    file: Path
    home: Path
    ours: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Contender:
    """A server to be measured: its start with a model, and its requests."""

    name: str
    running: Callable[[Model], AbstractContextManager[Service]]
    post: Callable[[bytes, Model], Post]


def embedded_model(name: str, home: Path) -> Model:
    """Copy an embedded model to the folder that rembg expects."""
    source = find(REGISTRY[name])
    assert source is not None  # noqa: S101  # included in the service
    return Model(name, _copy(source, home, CUSTOM), home, {"MODEL_NAME": name, "MODELS_ALLOWED": name})


def model_from(source: Path, home: Path) -> Model:
    """Copy a graph with the inputs and outputs of U2-Net to the folder that both servers expect."""
    settings = {"MODEL_NAME": STAND_IN, "MODELS_ALLOWED": STAND_IN, "REMBG_HOME": str(home)}
    settings["MODEL_CHECKSUM_DISABLED"] = "true"
    return Model(source.stem, _copy(source, home, STAND_IN), home, settings)


def _copy(source: Path, home: Path, name: str) -> Path:
    target = home / "models" / name / f"{name}.onnx"
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    return target


def our_server(settings: Mapping[str, str], name: str = "ours", root: Path = ROOT) -> Contender:
    """Return this service, or another checkout of it, with these settings."""
    return Contender(
        name,
        running=lambda model: running_service(root, **{**model.ours, **settings}),
        post=_our_post,
    )


def _our_post(photo: bytes, model: Model) -> Post:
    """Return a request with refined edges, as by default, but not for random weights, whose mask is all edges."""
    fields = {} if model.name in REGISTRY else {"refine": "none"}
    return Post.of_photo(photo, fields=fields)


def rembg_server() -> Contender:
    """Return `rembg s`, without its user interface, which would only cost memory."""
    return Contender(REMBG, running=_running_rembg, post=_rembg_post)


def _running_rembg(model: Model) -> AbstractContextManager[Service]:
    port = free_port()
    command = [str(REMBG_FOLDER / "bin/rembg"), "s", "--no-ui", "-h", HOST, "-p", str(port), "-l", "warning"]
    # BROWSER: it opens its page in a browser at start.
    environment = {"REMBG_HOME": str(model.home), "BROWSER": "true"}
    return running_server(command, port, "/openapi.json", ROOT, environment)


def _rembg_post(photo: bytes, model: Model) -> Post:
    query = urlencode({"extras": json.dumps({"model_path": str(model.file)})})
    return Post.of_photo(photo, path=f"/api/remove?{query}", fields={"model": CUSTOM})


def install_rembg() -> dict[str, str]:
    """Install rembg's server in a separate environment, once, and return the versions of its packages.

    The versions of rembg and onnxruntime are those of this service, so that the same code runs the models.
    """
    rembg = re.search(r"^rembg==(\S+)", (ROOT / "requirements-rembg.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert rembg is not None  # noqa: S101  # pinned there
    wanted = [f"rembg[cpu,cli]=={rembg[1]}", f"onnxruntime=={version('onnxruntime')}"]
    stamp = REMBG_FOLDER / ".installed"
    if not stamp.is_file() or stamp.read_text(encoding="utf-8").split() != wanted:
        print(
            f"Installing {wanted[0]} in {REMBG_FOLDER.name}, once; its first start compiles for a minute …", flush=True
        )
        venv.create(REMBG_FOLDER, with_pip=True, clear=True)
        _run_python("-m", "pip", "--disable-pip-version-check", "--quiet", "install", *wanted)
        _run_python("-c", "import rembg.cli")  # numba compiles and caches the result
        stamp.write_text("\n".join(wanted), encoding="utf-8")
    return _versions()


def _versions() -> dict[str, str]:
    names = ("rembg", "onnxruntime", "numpy", "pillow", "uvicorn")
    code = f"from importlib.metadata import version; print(*map(version, {names}))"
    return dict(zip(names, _run_python("-c", code).split(), strict=True))


def _run_python(*arguments: str) -> str:
    command = [str(REMBG_FOLDER / "bin/python"), *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
