"""Flame graphs of sampled stacks."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from benchmarks.flame_graph import MARGIN, WIDTH, flame_graph, read_stacks

SVG = "{http://www.w3.org/2000/svg}"


def test_equal_stacks_are_added() -> None:
    assert read_stacks("main;read (a.py:1) 2\nmain;write 3\nmain;read (a.py:1) 4\n") == {
        "main;read (a.py:1)": 6,
        "main;write": 3,
    }


def test_code_without_symbols_is_one_frame() -> None:
    assert read_stacks("0xa1 (libc.so.6);main;0xb2 (ort.so);0xb3 (ort.so);cast 5") == {"main;ort.so;cast": 5}


def test_widths_are_shares_of_the_samples() -> None:
    graph = ElementTree.fromstring(flame_graph({"engine": {"main;read": 1, "main;write <file>": 3}}))  # noqa: S314
    boxes = {
        group.findtext(f"{SVG}title"): float(group.find(f"{SVG}rect").attrib["width"])  # type: ignore[union-attr]
        for group in graph.iter(f"{SVG}g")
    }
    whole = WIDTH - 2 * MARGIN
    assert boxes == pytest.approx(
        {"main: 100.0%": whole, "read: 25.0%": whole / 4, "write <file>: 75.0%": whole * 3 / 4}
    )


def test_a_graph_without_samples_is_empty() -> None:
    graph = ElementTree.fromstring(flame_graph({"engine": {}}))  # noqa: S314
    assert list(graph.iter(f"{SVG}g")) == []
