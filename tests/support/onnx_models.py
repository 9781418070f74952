"""Tiny ONNX files with the inputs and outputs of rembg's models, for tests without their weights."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto, helper

from app.engine.models import ModelSpec


def write_model(model: ModelSpec, home: Path, *, brightness: float = 0.1, offset: float = 0.5) -> Path:
    """Write a model that returns brightness * (mean of the channels) + offset, twice: U2-Net returns seven masks."""
    path = home / "models" / model.name / f"{model.name}.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = [1, 1, model.size, model.size]
    nodes = [
        helper.make_node("ReduceMean", ["input", "axes"], ["mean"], keepdims=1),
        helper.make_node("Mul", ["mean", "brightness"], ["scaled"]),
        helper.make_node("Add", ["scaled", "offset"], ["mask"]),
        helper.make_node("Identity", ["mask"], ["side"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, model.size, model.size])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("mask", "side")],
        [
            helper.make_tensor("axes", TensorProto.INT64, [1], [1]),
            helper.make_tensor("brightness", TensorProto.FLOAT, [], [brightness]),
            helper.make_tensor("offset", TensorProto.FLOAT, [], [offset]),
        ],
    )
    tiny = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.save(tiny, path)
    return path
