"""Grouped bar chart as SVG, without a plotting library."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["Bar", "Group", "Panel", "bar_chart"]

# px
WIDTH, LABEL_WIDTH, VALUE_WIDTH, BAR, GAP, TITLE, MARGIN = 720, 110, 70, 16, 12, 34, 16
COLOURS = ("#9aa5b1", "#2f6fde", "#7fb069", "#e0a458", "#b565a7")


@dataclass(frozen=True, slots=True)
class Bar:
    """One value of a series."""

    series: str
    value: float


@dataclass(frozen=True, slots=True)
class Group:
    """Bars to be compared with each other."""

    label: str
    bars: Sequence[Bar]


@dataclass(frozen=True, slots=True)
class Panel:
    """Groups on one scale, from 0 to their largest value."""

    title: str
    groups: Sequence[Group]


def bar_chart(panels: Sequence[Panel]) -> str:
    """Return an SVG of panels in one column, with values at the bars and a legend at the bottom."""
    series = [*dict.fromkeys(bar.series for panel in panels for group in panel.groups for bar in group.bars)]
    colours = {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(series)}
    shapes, top = list[str](), MARGIN
    for panel in panels:
        shapes += _panel(panel, colours, top)
        top += _height(panel)
    shapes += _legend(colours, top)
    height = top + BAR + 2 * MARGIN
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
            'font-family="sans-serif" font-size="12" fill="#222">',
            f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
            *shapes,
            "</svg>\n",
        ]
    )


def _height(panel: Panel) -> int:
    return TITLE + sum(BAR * len(group.bars) + GAP for group in panel.groups)


def _panel(panel: Panel, colours: dict[str, str], top: int) -> Iterator[str]:
    largest = max((bar.value for group in panel.groups for bar in group.bars), default=0.0) or 1.0
    scale = (WIDTH - LABEL_WIDTH - VALUE_WIDTH - MARGIN) / largest
    yield _text(MARGIN, top + BAR, panel.title, ' font-weight="bold"')
    top += TITLE
    for group in panel.groups:
        yield _text(MARGIN, top + BAR - 4, group.label)
        for bar in group.bars:
            width = bar.value * scale
            yield _box(LABEL_WIDTH, top, width, BAR - 2, colours[bar.series])
            yield _text(LABEL_WIDTH + width + 6, top + BAR - 4, f"{bar.value:.1f}")
            top += BAR
        top += GAP


def _legend(colours: dict[str, str], top: int) -> Iterator[str]:
    left = float(MARGIN)
    for name, colour in colours.items():
        yield _box(left, top, BAR, BAR - 2, colour)
        yield _text(left + BAR + 6, top + BAR - 4, name)
        left += BAR + 30 + 7 * len(name)


def _box(left: float, top: float, width: float, height: float, colour: str) -> str:
    return f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height}" fill="{colour}"/>'


def _text(left: float, top: float, text: str, more: str = "") -> str:
    return f'<text x="{left:.1f}" y="{top:.1f}"{more}>{escape(text)}</text>'
