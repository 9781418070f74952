"""An optimized graph has the same output, and the embedded model is optimized."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from app.engine.models import REGISTRY
from app.engine.weights import find
from tools.lean_lite import main

SIDE = 64


def write_graph(path: Path) -> None:
    """Write a network with the first and last layers of the embedded model, and few between."""
    random = np.random.default_rng(0)
    constants = {
        "scale": random.uniform(0.4, 0.5, (1, 3, 1, 1)),
        "shift": random.uniform(-0.2, 0.2, (1, 3, 1, 1)),
        "first": random.standard_normal((16, 3, 3, 3)),
        "last": random.standard_normal((1, 16, 3, 3)),
    }
    numbers = {"zero": [0], "two": [2], "size": [SIDE, SIDE]}
    nodes = [
        helper.make_node("Mul", ["input", "scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "shift"], ["shifted"]),
        helper.make_node("Conv", ["shifted", "first"], ["features"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["features"], ["active"]),
        helper.make_node("Conv", ["active", "last"], ["small"], pads=[1, 1, 1, 1]),
        helper.make_node("Shape", ["small"], ["shape"]),
        helper.make_node("Slice", ["shape", "zero", "two", "zero"], ["batch"]),
        helper.make_node("Concat", ["batch", "size"], ["sizes"], axis=0),
        helper.make_node("Resize", ["small", "", "", "sizes"], ["large"], mode="linear"),
        helper.make_node("Sigmoid", ["large"], ["mask"]),
    ]
    tensors = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()]
    tensors += [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in numbers.items()]
    ends = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, planes, SIDE, SIDE])
            for name, planes in (("input", 3), ("mask", 1)))  # fmt: skip
    graph = helper.make_graph(nodes, "small", [next(ends)], [next(ends)], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def answer(path: Path, image: NDArray[np.float32]) -> NDArray[np.float32]:
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"input": image})[0], np.float32)


def test_the_output_stays_the_same(tmp_path: Path) -> None:
    before, after = tmp_path / "before.onnx", tmp_path / "after.onnx"
    write_graph(before)
    main(str(before), str(after))
    image = np.random.default_rng(1).standard_normal((1, 3, SIDE, SIDE)).astype(np.float32)
    expected = answer(before, image)
    assert expected.std() > 0.1
    assert abs(answer(after, image) - expected).max() < 1e-5
    operators = [node.op_type for node in onnx.load(after).graph.node]
    assert operators == ["Add", "Conv", "Relu", "Conv", "Reshape", "Resize", "Sigmoid"]


def test_a_graph_of_another_shape_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "graph.onnx"
    write_graph(path)
    main(str(path), str(path))
    with pytest.raises(ValueError, match="does not begin with"):
        main(str(path), str(path))


def test_the_embedded_model_is_optimized() -> None:
    path = find(REGISTRY["lite"])
    assert path is not None
    operators = [node.op_type for node in onnx.load(path).graph.node]
    assert operators[:2] == ["Add", "Conv"]
    assert operators[-3:] == ["Reshape", "Resize", "Sigmoid"]
