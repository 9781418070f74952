"""Flame graph of sampled stacks as SVG: callers above, widths in proportion to the number of samples (Gregg, 2011)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import escape
from itertools import dropwhile, groupby

__all__ = ["flame_graph", "read_stacks"]

# px
WIDTH, ROW, TITLE, MARGIN, CHARACTER, MIN_WIDTH = 1200, 17, 30, 10, 6.2, 1.0
# Colours by what a function's name contains, the first that fits; then that of the interpreter and the system.
COLOURS = {
    "onnxruntime": "#e0a458",
    "(app/": "#6f9fe8",
    "cv2": "#7fb069",
    "numpy": "#7fb069",
    "PIL": "#7fb069",
    "isal": "#7fb069",
}
OTHER = "#c3cad2"
# Native code without symbols, such as `0x7efd8043b9eb (libc.so.6)`.
_ADDRESS = re.compile(r"0x[0-9a-f]+ \((.*)\)")


@dataclass(slots=True)
class _Frame:
    samples: int = 0
    callees: dict[str, _Frame] = field(default_factory=dict)

    def depth(self) -> int:
        return 1 + max((callee.depth() for callee in self.callees.values()), default=0)


def read_stacks(text: str) -> dict[str, int]:
    """Return the number of samples of each stack from lines such as `main;run;decode 12`.

    Functions without a name are one frame with that of their library; before `main` they are left out.
    """
    stacks: dict[str, int] = {}
    for line in text.splitlines():
        stack, _, samples = line.rpartition(" ")
        frames = list(dropwhile(_ADDRESS.fullmatch, stack.split(";")))
        named = ";".join(name for name, _ in groupby(_ADDRESS.sub(r"\1", frame) for frame in frames))
        stacks[named] = stacks.get(named, 0) + int(samples)
    return stacks


def flame_graph(titled_stacks: Mapping[str, Mapping[str, int]]) -> str:
    """Return an SVG with one graph below another, each of a title and its stacks."""
    shapes, top = list[str](), MARGIN
    for title, stacks in titled_stacks.items():
        root = _tree(stacks)
        shapes.append(_text(MARGIN, top + ROW, f"{title}, {root.samples} samples", ' font-weight="bold"'))
        top += TITLE
        shapes += _boxes(root, MARGIN, top, (WIDTH - 2 * MARGIN) / max(1, root.samples), root.samples)
        top += ROW * (root.depth() - 1) + 2 * MARGIN
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" font-family="monospace" font-size="10">'
    )
    return "\n".join([head, f'<rect width="{WIDTH}" height="{top}" fill="#fff"/>', *shapes, "</svg>\n"])


def _tree(stacks: Mapping[str, int]) -> _Frame:
    root = _Frame()
    for stack, samples in stacks.items():
        root.samples += samples
        frame = root
        for name in stack.split(";"):
            frame = frame.callees.setdefault(name, _Frame())
            frame.samples += samples
    return root


def _boxes(frame: _Frame, left: float, top: int, scale: float, total: int) -> Iterator[str]:
    for name, callee in sorted(frame.callees.items()):
        width = callee.samples * scale
        if width >= MIN_WIDTH:
            yield _box(name, left, top, width, callee.samples / total)
            yield from _boxes(callee, left, top + ROW, scale, total)
        left += width


def _box(name: str, left: float, top: int, width: float, share: float) -> str:
    colour = next((colour for part, colour in COLOURS.items() if part in name), OTHER)
    label = name[: int((width - 4) / CHARACTER)]
    return (
        f'<g><title>{escape(name)}: {share:.1%}</title><rect x="{left:.1f}" y="{top}" width="{width:.1f}" '
        f'height="{ROW - 1}" fill="{colour}"/>{_text(left + 2, top + 12, label) if len(label) > 2 else ""}</g>'
    )


def _text(left: float, top: float, text: str, more: str = "") -> str:
    return f'<text x="{left:.1f}" y="{top}"{more}>{escape(text)}</text>'
