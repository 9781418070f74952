"""Export to ONNX, with a check that the exported file gives the network's masks."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import torch

from app.engine.weights import sha256
from tools.lean_lite import end_blocks
from training import models
from training.network import Network
from training.photos import SIDE

__all__ = ["MAX_DIFFERENCE", "export"]

OPSET = 17
# Accepted difference between the network's mask and the exported file's, of a probability.
MAX_DIFFERENCE = 1e-4


def export(network: Network, path: Path) -> None:
    """Write `path` with batch norms folded, and its SHA-256 beside it; raise ValueError if its masks differ."""
    network = network.cpu().eval()
    path.parent.mkdir(parents=True, exist_ok=True)
    image = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 3, SIDE, SIDE), np.float32))
    with warnings.catch_warnings():  # the successor of this exporter needs two more packages and gives more nodes
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            network,
            (image,),
            str(path),
            input_names=["input"],
            output_names=["mask"],
            opset_version=OPSET,
            dynamo=False,
        )
    model = onnx.load(path)
    end_blocks(model.graph)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    _compare(network, path, image)
    path.with_name(f"{path.name}.sha256").write_text(f"{sha256(path)}  {path.name}\n", "utf-8")


def _compare(network: Network, path: Path, image: torch.Tensor) -> None:
    with torch.no_grad():
        expected = network(image).numpy()
    found = models.load("lite", path).inference.run(["mask"], {"input": image.numpy()})[0]
    difference = float(np.abs(found - expected).max())
    if not difference <= MAX_DIFFERENCE:
        raise ValueError(f"The exported masks differ from the network's by {difference:.1e}.")
