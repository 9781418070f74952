"""The network of `lite`: a MobileNetV2 encoder, context of four widths, and a light decoder with additive skips."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import onnx
import torch
from google.protobuf.message import DecodeError
from onnx import numpy_helper
from torch import nn
from torch.nn import functional

from app.engine.models import IMAGENET_MEAN, IMAGENET_STD

__all__ = ["Network", "load_encoder"]

# MobileNetV2: output channels, expansion, blocks, stride of the first.
STAGES = ((16, 1, 1, 1), (24, 6, 2, 2), (32, 6, 3, 2), (64, 6, 4, 2), (96, 6, 3, 1), (160, 6, 3, 2), (320, 6, 1, 1))
# Blocks whose output the decoder uses, at 1/2, 1/4, 1/8, 1/16 and 1/32 of the input, and its channels.
TAPS = {0: 16, 2: 24, 5: 32, 12: 96, 16: 320}
STEM = 32


class Network(nn.Module):
    """Logits of the mask at four sizes while training, the largest first; else the probability at the input's size.

    The input is (N, 3, S, S), normalised as for U2-Net, with S a multiple of 32. The encoder expects pixels in -1..1:
    the shift is `shift`, the scale is part of the stem's weights. Its batch norms are folded into its convolutions.
    """

    def __init__(self, widths: tuple[int, int, int, int] = (160, 128, 64, 16), context: int = 96) -> None:
        super().__init__()
        shift = [(mean - 0.5) / std for mean, std in zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)]
        self.register_buffer("shift", torch.tensor(shift).view(1, 3, 1, 1))
        self.stem = _folded(3, STEM, 3, stride=2)
        self.blocks = nn.ModuleList(_blocks())
        half, quarter, eighth, sixteenth, deepest = TAPS.values()
        self.context = nn.ModuleList(
            [_unit(deepest, context, 1), *(_separable(deepest, context, 3, dilation) for dilation in (1, 2, 4))]
        )
        self.scene = nn.Sequential(nn.Conv2d(deepest, context, 1), nn.ReLU(inplace=True))
        self.fuse = _unit(5 * context, widths[0], 1)
        self.skips = nn.ModuleList(
            _unit(*pair, 1) for pair in zip((sixteenth, eighth, quarter, half), widths, strict=True)
        )
        self.steps = nn.ModuleList(
            nn.Sequential(_separable(wide, wide, 5), _separable(wide, narrow, 3)) for wide, narrow in pairwise(widths)
        )
        self.last = _unit(widths[3], widths[3], 3)
        self.side_heads = nn.ModuleList(nn.Conv2d(width, 1, 1) for width in widths[1:])
        self.head = nn.Conv2d(widths[3], 1, 1)

    def forward(self, image: torch.Tensor) -> list[torch.Tensor] | torch.Tensor:
        """Return the logits or the probability, see the class."""
        *features, deepest = self._encode(image)
        scene = self.scene(deepest.mean((2, 3), keepdim=True)).expand(-1, -1, *deepest.shape[2:])
        decoded = self.fuse(torch.cat([*(unit(deepest) for unit in self.context), scene], 1))
        sides = []
        for skip, step, head in zip(self.skips, self.steps, self.side_heads, strict=False):
            feature = features.pop()
            decoded = step(_enlarged(decoded, feature) + skip(feature))
            sides.append(head(decoded))
        feature = features.pop()
        decoded = self.last(_enlarged(decoded, feature) + self.skips[-1](feature))
        logits = _enlarged(self.head(decoded), image)
        return [logits, *reversed(sides)] if self.training else torch.sigmoid(logits)

    def _encode(self, image: torch.Tensor) -> list[torch.Tensor]:
        features = []
        decoded = self.stem(image + self.shift)
        for number, block in enumerate(self.blocks):
            decoded = block(decoded)
            if number in TAPS:
                features.append(decoded)
        return features

    def encoder_parameters(self) -> list[nn.Parameter]:
        """Return the trainable parameters of the encoder."""
        return [p for part in (self.stem, self.blocks) for p in part.parameters() if p.requires_grad]

    def decoder_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of all but the encoder."""
        encoder = {id(p) for part in (self.stem, self.blocks) for p in part.parameters()}
        return [p for p in self.parameters() if id(p) not in encoder]

    def freeze(self, blocks: int) -> None:
        """Keep the stem and the first blocks as they are: general features, and half of the training time."""
        for part in (self.stem, *self.blocks[:blocks]):
            part.requires_grad_(False)


class _Block(nn.Module):
    """Inverted residual of MobileNetV2."""

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.residual = stride == 1 and inputs == outputs
        self.expand = _folded(inputs, hidden) if expansion > 1 else nn.Identity()
        self.depthwise = _folded(hidden, hidden, 3, stride=stride, groups=hidden)
        self.project = nn.Conv2d(hidden, outputs, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        projected = self.project(self.depthwise(self.expand(features)))
        return features + projected if self.residual else projected


def _blocks() -> list[_Block]:
    blocks, inputs = [], STEM
    for outputs, expansion, count, first_stride in STAGES:
        for number in range(count):
            blocks.append(_Block(inputs, outputs, expansion, first_stride if number == 0 else 1))
            inputs = outputs
    return blocks


def _folded(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, 1, groups), nn.ReLU6(inplace=True))


def _unit(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def _separable(inputs: int, outputs: int, kernel: int, dilation: int = 1) -> nn.Sequential:
    depthwise = nn.Conv2d(
        inputs, inputs, kernel, padding=dilation * (kernel // 2), dilation=dilation, groups=inputs, bias=False
    )
    return nn.Sequential(
        depthwise,
        nn.BatchNorm2d(inputs),
        nn.Conv2d(inputs, outputs, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def _enlarged(features: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return functional.interpolate(features, size=target.shape[2:], mode="bilinear", align_corners=False)


def load_encoder(network: Network, path: Path) -> None:
    """Take the encoder from an exported model; raise ValueError if its convolutions do not fit.

    Its convolutions come first in the graph and in order. The graph must be one that tools.lean_lite has optimised:
    its stem has the scale in its weights, as the network's has.
    """
    try:
        graph = onnx.load(path).graph
    except DecodeError as error:
        raise ValueError(f"{path} is not an ONNX file.") from error
    if [node.op_type for node in graph.node[:2]] != ["Add", "Conv"]:
        raise ValueError(f"{path.name} does not begin with Add, Conv: run tools.lean_lite first.")
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    nodes = (node for node in graph.node if node.op_type == "Conv")
    convolutions = [m for part in (network.stem, network.blocks) for m in part.modules() if isinstance(m, nn.Conv2d)]
    with torch.no_grad():
        for convolution, node in zip(convolutions, nodes, strict=False):
            for parameter, name in zip((convolution.weight, convolution.bias), node.input[1:], strict=True):
                values = torch.from_numpy(numpy_helper.to_array(tensors[name]).copy())
                if values.shape != parameter.shape:
                    raise ValueError(f"{path.name}: {name} is {tuple(values.shape)}, not {tuple(parameter.shape)}.")
                parameter.copy_(values)
