"""The lean graph of U2-NetP computes the same masks, and the embedded one is up to date."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from app.engine import weights
from app.engine.models import REGISTRY
from tests.support.photos import photo
from tools.lean_u2netp import main

U2NETP = REGISTRY["u2netp"]


def mask(path: Path, image: NDArray[np.float32]) -> NDArray[np.float32]:
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.asarray(session.run([session.get_outputs()[0].name], {"input.1": image})[0], np.float32)


def test_masks_differ_by_rounding_only() -> None:
    image = np.asarray(photo("astronaut").resize((320, 320)), np.float32).transpose(2, 0, 1)[None] / 127.5 - 1
    expected = mask(weights.require(U2NETP), image)
    assert expected.std() > 0.1
    assert np.abs(mask(weights.graph(U2NETP), image) - expected).max() < 1e-4  # 0.03 of 255 grey levels


def test_the_embedded_graph_is_what_the_tool_writes(tmp_path: Path) -> None:
    """The nodes are compared, since the order of constants is that of the installed onnxruntime."""
    main(str(weights.require(U2NETP)), str(tmp_path / "lean.onnx"))
    written, embedded = (onnx.load(path) for path in (tmp_path / "lean.onnx", weights.graph(U2NETP)))
    assert [node.op_type for node in written.graph.node] == [node.op_type for node in embedded.graph.node]
    assert {node.op_type for node in embedded.graph.node} == {
        *("Add", "Concat", "Conv", "MaxPool", "Relu", "Reshape", "Resize", "Sigmoid")
    }
