"""Optimize the graph of U2-NetP without changing its weights: `python -m tools.lean_u2netp IN OUT`.

Three inefficiencies of the exported graph that onnxruntime does not remove, together a tenth of an inference's time and
180 of the 300 MB of its intermediate results:

- onnxruntime keeps planes in blocks between convolutions, but resizes with `pytorch_half_pixel` outside of blocks, with
  two copies of the planes. `half_pixel` is the same for outputs of more than one pixel, and needs no copies.
- A convolution of concatenated planes needs a copy of all of them. It equals the sum of the convolutions of its parts.
- Side outputs are single planes, each of which is resized as a block. A reshape to the same shape ends the block.

Only the first output, the mask, is kept.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper, shape_inference

__all__ = ["drop_unused", "end_blocks_of_planes", "lean", "resize_in_blocks", "split_convolutions"]

# Sides from which planes are worth splitting, px; smaller ones take little memory.
MIN_SIDE = 160
Shapes = dict[str, list[int]]


def lean(source: Path) -> onnx.ModelProto:
    """Return the optimized model of a file."""
    model = _with_constants(source)
    graph, shapes = model.graph, _shapes(model)
    del graph.output[1:]
    drop_unused(graph)
    resize_in_blocks(graph)
    end_blocks_of_planes(graph, shapes)
    split_convolutions(graph, shapes)
    drop_unused(graph)
    del model.opset_import[1:]  # domains that onnxruntime names without using them
    onnx.checker.check_model(model)
    return model


def _with_constants(source: Path) -> onnx.ModelProto:
    """Return the model with all sizes as constants, computed by onnxruntime."""
    with TemporaryDirectory() as folder:
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(Path(folder, "model.onnx"))
        options.log_severity_level = 4
        ort.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
        return onnx.load(options.optimized_model_filepath)


def _shapes(model: onnx.ModelProto) -> Shapes:
    graph = shape_inference.infer_shapes(model).graph
    values = [*graph.value_info, *graph.input, *graph.output]
    return {value.name: [side.dim_value for side in value.type.tensor_type.shape.dim] for value in values}


def resize_in_blocks(graph: onnx.GraphProto) -> None:
    """Replace the coordinates `pytorch_half_pixel` of all resizes by `half_pixel`."""
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.s == b"pytorch_half_pixel":
                attribute.s = b"half_pixel"


def end_blocks_of_planes(graph: onnx.GraphProto, shapes: Shapes) -> None:
    """Insert a reshape to the same shape before each resize of a single plane."""
    for node in [node for node in graph.node if node.op_type == "Resize" and shapes[node.input[0]][1] == 1]:
        plane = node.input[0]
        graph.initializer.append(numpy_helper.from_array(np.array(shapes[plane], np.int64), f"{plane}_shape"))
        reshape = helper.make_node("Reshape", [plane, f"{plane}_shape"], [f"{plane}_plane"])
        graph.node.insert(list(graph.node).index(node), reshape)
        node.input[0] = f"{plane}_plane"


def split_convolutions(graph: onnx.GraphProto, shapes: Shapes) -> None:
    """Replace each convolution of two concatenated inputs by the sum of two convolutions."""
    makers = {name: node for node in graph.node for name in node.output}
    uses = Counter(name for node in graph.node for name in node.input)
    for node in [node for node in graph.node if node.op_type == "Conv"]:
        joined = makers.get(node.input[0])
        if joined is None or joined.op_type != "Concat" or len(joined.input) != 2 or uses[node.input[0]] > 1:
            continue
        if shapes[node.input[0]][2] >= MIN_SIDE:
            _split(graph, node, joined.input, shapes[joined.input[0]][1])


def _split(graph: onnx.GraphProto, node: onnx.NodeProto, parts: list[str], channels: int) -> None:
    first, second = parts
    weights, bias = node.input[1:]
    values = numpy_helper.to_array(next(tensor for tensor in graph.initializer if tensor.name == weights))
    for name, part in ((f"{weights}_1", values[:, :channels]), (f"{weights}_2", values[:, channels:])):
        graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(part), name))
    attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    result = node.output[0]
    # The second part first: onnxruntime then adds the other convolution in place.
    replacements = [
        helper.make_node("Conv", [second, f"{weights}_2", bias], [f"{result}_2"], **attributes),
        helper.make_node("Conv", [first, f"{weights}_1"], [f"{result}_1"], **attributes),
        helper.make_node("Add", [f"{result}_1", f"{result}_2"], [result]),
    ]
    place = list(graph.node).index(node)
    graph.node.remove(node)
    for offset, replacement in enumerate(replacements):
        graph.node.insert(place + offset, replacement)


def drop_unused(graph: onnx.GraphProto) -> None:
    """Remove nodes and constants without a use."""
    used = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
    unused = [node for node in graph.node if used.isdisjoint(node.output)]
    for node in unused:
        graph.node.remove(node)
    if unused:
        drop_unused(graph)
        return
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in used]:
        graph.initializer.remove(tensor)


def main(source: str, target: str) -> None:
    """Read a model, optimize it, write it."""
    onnx.save(lean(Path(source)), target)


if __name__ == "__main__":
    main(*sys.argv[1:])
