"""Models that are run to label and to compare: ONNX files, with the service's own preprocessing."""

from __future__ import annotations

from pathlib import Path

import click
import onnxruntime as ort

from app.engine import weights
from app.engine.models import REGISTRY
from app.engine.session import Session

__all__ = ["load", "resolve"]


def resolve(model: str) -> tuple[str, Path]:
    """Return the name in the registry and the weights of a model given by name or by path: `u2netp`, `/x/u2netp.onnx`.

    Raise BadParameter for an unknown model, and ModelUnavailable for missing weights.
    """
    path = Path(model)
    if path.suffix != ".onnx":
        if model not in REGISTRY:
            raise click.BadParameter(f"{model!r} is not a model. Known: {', '.join(REGISTRY)}")
        return model, weights.require(REGISTRY[model])
    if path.stem not in REGISTRY:
        raise click.BadParameter(f"Name the file of {model!r} as one of: {', '.join(REGISTRY)}")
    if not path.is_file():
        raise click.BadParameter(f"{model!r} does not exist.")
    return path.stem, path


def load(name: str, path: Path) -> Session:
    """Return a model on one thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    inference = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return Session(REGISTRY[name], inference, inference.get_inputs()[0].name, inference.get_outputs()[0].name)
