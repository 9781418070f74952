"""Optimize the graph of the embedded model without changing its output: `python -m tools.lean_lite IN OUT`.

Two inefficiencies of exported graphs that onnxruntime does not remove, together an eighth of an inference:

- The input is scaled and shifted before the first convolution. The scale is folded into that convolution's weights.
- onnxruntime keeps planes in blocks of sixteen between convolutions, so it resizes the output, one plane, and computes
  its sigmoid sixteen times. A reshape to the same shape ends the blocks after the last convolution.
"""

from __future__ import annotations

import sys

import numpy as np
import onnx
from onnx import helper, numpy_helper

__all__ = ["end_blocks", "fold_scale"]


def fold_scale(graph: onnx.GraphProto) -> None:
    """Replace x * a + b before the first convolution by x + b / a, and multiply the convolution's weights by a.

    Its zero padding stays correct, since padded values are zero before and after the change.
    """
    multiply, add, convolution = graph.node[:3]
    if [node.op_type for node in graph.node[:3]] != ["Mul", "Add", "Conv"]:
        raise ValueError("This graph does not begin with Mul, Add, Conv.")
    scale, shift, weights = (_constant(graph, node.input[1]) for node in (multiply, add, convolution))
    factor = numpy_helper.to_array(scale).reshape(-1)
    _replace(shift, numpy_helper.to_array(shift) / factor.reshape(1, -1, 1, 1))
    _replace(weights, numpy_helper.to_array(weights) * factor[None, :, None, None])
    add.input[0] = multiply.input[0]
    graph.initializer.remove(scale)
    graph.node.remove(multiply)


def end_blocks(graph: onnx.GraphProto) -> None:
    """Insert a reshape to the same shape between the last convolution and the final resize and sigmoid."""
    resize, sigmoid = graph.node[-2:]
    if [resize.op_type, sigmoid.op_type] != ["Resize", "Sigmoid"]:
        raise ValueError("This graph does not end with Resize, Sigmoid.")
    height, width = (size.dim_value for size in graph.output[0].type.tensor_type.shape.dim[2:])
    for name, shape in (("logits_shape", (1, 1, height // 2, width // 2)), ("mask_shape", (1, 1, height, width))):
        graph.initializer.append(numpy_helper.from_array(np.array(shape, np.int64), name))
    reshape = helper.make_node("Reshape", [resize.input[0], "logits_shape"], ["logits"], name="end_blocks")
    resize.input[0], resize.input[3] = "logits", "mask_shape"
    graph.node.insert(len(graph.node) - 2, reshape)
    _drop_unused(graph)


def _drop_unused(graph: onnx.GraphProto) -> None:
    """Remove nodes without a used output, such as those that computed a size that is a constant now."""
    used = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
    unused = [node for node in graph.node if used.isdisjoint(node.output)]
    for node in unused:
        graph.node.remove(node)
    if unused:
        _drop_unused(graph)


def _constant(graph: onnx.GraphProto, name: str) -> onnx.TensorProto:
    return next(tensor for tensor in graph.initializer if tensor.name == name)


def _replace(tensor: onnx.TensorProto, values: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> None:
    tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float32), tensor.name))


def main(source: str, target: str) -> None:
    """Read a model, optimize it, write it."""
    model = onnx.load(source)
    fold_scale(model.graph)
    end_blocks(model.graph)
    onnx.checker.check_model(model)
    onnx.save(model, target)


if __name__ == "__main__":
    main(*sys.argv[1:])
