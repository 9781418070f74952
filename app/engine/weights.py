"""Paths and download of a model's weights.

The paths are rembg's, so that weights fetched by rembg are found: `$REMBG_HOME/models/NAME/NAME.onnx`, and the older
`$U2NET_HOME/NAME.onnx`. Only `fetch` imports rembg.

`NAME.onnx.sha256` beside the weights has their SHA-256 in the format of sha256sum. It ships with embedded weights, and
`fetch` writes it after rembg has verified its own checksum. Weights from elsewhere have none and are not checked.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.engine.models import ModelSpec
from app.errors import ModelUnavailable

__all__ = ["check", "fetch", "files", "find", "find_all", "graph", "require", "sha256"]

log = logging.getLogger(__name__)

EMBEDDED = Path(__file__).with_name("weights")


def rembg_home(home: str = "") -> Path:
    """Return the folder of rembg's models; `home` replaces $REMBG_HOME."""
    if old := os.environ.get("U2NET_HOME"):
        return Path(old).expanduser()
    data = os.environ.get("XDG_DATA_HOME")
    default = Path(data, "rembg") if data else Path("~/.rembg")
    return Path(home or os.environ.get("REMBG_HOME") or default).expanduser()


def _flat_home() -> Path:
    return Path(os.environ.get("U2NET_HOME") or Path(os.environ.get("XDG_DATA_HOME", "~"), ".u2net")).expanduser()


def find(model: ModelSpec, home: str = "") -> Path | None:
    """Return the path of the model's weights, None if they are missing; `home` replaces $REMBG_HOME."""
    file_name = f"{model.name}.onnx"
    if model.embedded:
        paths = [EMBEDDED / file_name]
    else:
        paths = [rembg_home(home) / "models" / model.name / file_name, _flat_home() / file_name]
    return next((path for path in paths if path.is_file()), None)


def find_all(model: ModelSpec, home: str = "") -> list[Path]:
    """Return the paths of the weights of a model, of each member of a cascade; none if one is missing."""
    paths = [path for part in model.parts if (path := find(part, home))]
    return paths if len(paths) == len(model.parts) else []


def require(model: ModelSpec) -> Path:
    """Return the path of the model's weights; raise ModelUnavailable, with the command for the download."""
    if path := find(model):
        return path
    raise ModelUnavailable(
        f"The weights of model {model.name!r} are not on this server.",
        solution=f"An operator can fetch them with: python -m app models pull {model.name}",
    )


def graph(model: ModelSpec) -> Path:
    """Return the path of the graph to run, the lean one if there is one; raise ModelUnavailable."""
    path = require(model)
    return path.with_name(_lean_name(model)) if model.lean else path


def _lean_name(model: ModelSpec) -> str:
    return f"{model.name}-lean.onnx"


def files(model: ModelSpec, home: str = "") -> list[Path]:
    """Return the paths of the installed weights of a model and of its lean graph."""
    path = find(model, home)
    return [] if path is None else [path, path.with_name(_lean_name(model))] if model.lean else [path]


def check(model: ModelSpec, path: Path) -> None:
    """Raise ModelUnavailable for weights whose SHA-256 is not the recorded one; damaged ones can give wrong masks."""
    record = _record_of(path)
    if not record.is_file():
        return
    found = sha256(path)
    if record.read_text("utf-8").split()[:1] != [found]:
        log.error("weights.damaged model=%s path=%s sha256=%s", model.name, path, found)
        advice = f"delete {path.name} and run: python -m app models pull {model.name}"
        raise ModelUnavailable(
            f"The weights of model {model.name!r} are damaged.",
            details="wrong SHA-256",
            solution=f"An operator can {'install the service again.' if model.embedded else advice}",
        )


def _record_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal; raise OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(model: ModelSpec) -> Path:
    """Download the model's weights unless they exist; verify the checksum, and replace the file atomically.

    Raise OSError or ValueError (wrong checksum) when the download fails.
    """
    with _locked(rembg_home() / "models" / f".{model.name}.lock"):
        if path := find(model):
            return path
        from app.engine.rembg_entry import session_class

        session_class(model).download_models()
        path = require(model)
        _record_of(path).write_text(f"{sha256(path)}  {path.name}\n", "utf-8")
        return path


@contextmanager
def _locked(lock_file: Path) -> Iterator[None]:
    lock_file.parent.mkdir(parents=True, exist_ok=True)
    with lock_file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
