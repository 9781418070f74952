"""Evaluation of the side-by-side benchmark's figures; nothing is measured here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.chart import Bar, Group, Panel, bar_chart
from benchmarks.client import Load
from benchmarks.console import write_json
from benchmarks.figures import Bare, Cell, Figures, Machine, read_figures
from benchmarks.markdown import markdown_table
from benchmarks.steal import CpuTimes, undisturbed
from benchmarks.tables import summaries, tables


def cell(contender: str, round: int, rate: float, median_ms: float | None = 100.0, stolen: float = 0.0) -> Cell:
    load = Load(4, 10.0, int(10 * rate), rate, median_ms, median_ms, {}, None, 0.5, 1000, {})
    return Cell(round, contender, "lite", "0.7", load, cpu_ms=50.0, peak_pss=1 << 28, stolen=stolen)


def figures(*cells: Cell) -> Figures:
    return Figures(Machine("a processor", 2, "3.11", {}, {}, 0.0), 10.0, 2, cells=[*cells])


def test_ratios_compare_runs_of_the_same_round() -> None:
    cells = [cell("rembg", 0, 2.0), cell("ours", 0, 8.0), cell("rembg", 1, 1.0), cell("ours", 1, 6.0)]
    rembg, ours = summaries(cells)
    assert ours.faster == pytest.approx((8 / 2 + 6 / 1) / 2)
    assert rembg.faster is None


@pytest.mark.parametrize("cells", [[cell("ours", 0, 8.0)], [cell("rembg", 1, 2.0), cell("ours", 0, 8.0)]])
def test_no_ratio_without_rembg_in_that_round(cells: Sequence[Cell]) -> None:
    assert summaries(cells)[-1].faster is None


def test_disturbed_rounds_count_only_without_others() -> None:
    disturbed = [cell("rembg", 0, 2.0), cell("ours", 0, 4.0, stolen=0.3)]
    _, ours = summaries([*disturbed, cell("rembg", 1, 2.0), cell("ours", 1, 8.0)])
    assert ours.faster == pytest.approx(4.0)
    assert ours.photos_per_second == 8.0
    _, ours = summaries(disturbed)
    assert ours.faster == pytest.approx(2.0)
    assert ours.photos_per_second == 4.0


def test_the_floor_is_the_best_bare_run_of_the_same_round() -> None:
    bare = [Bare(0, "lite", 1, 2, 50.0, 20.0), Bare(0, "lite", 2, 1, 50.0, 16.0), Bare(0, "u2netp", 1, 2, 50.0, 90.0)]
    [ours] = summaries([cell("ours", 0, 8.0)], bare)
    assert ours.of_floor == pytest.approx(0.4)


def test_a_shorter_latency_is_a_ratio_over_one() -> None:
    _, ours = summaries([cell("rembg", 0, 2.0, 300.0), cell("ours", 0, 8.0, 100.0)])
    assert ours.sooner == pytest.approx(3.0)


def test_a_server_without_an_answer_has_no_latency() -> None:
    _, ours = summaries([cell("rembg", 0, 2.0), cell("ours", 0, 0.0, None)])
    assert ours.median_ms is None
    assert ours.sooner is None


def test_figures_are_read_as_written(tmp_path: Path) -> None:
    path, written = tmp_path / "bench.json", figures(cell("ours", 0, 8.0))
    write_json(path, asdict(written))
    assert read_figures(str(path)) == written


def test_every_row_is_as_wide_as_its_header() -> None:
    for table in tables(figures(cell("rembg", 0, 2.0), cell("ours", 0, 8.0))):
        assert {len(row) for row in table.rows} == {len(table.header)}


def test_the_baseline_is_the_best_bare_run_of_the_same_round() -> None:
    found = figures(cell("ours", 0, 8.0), cell("ours", 1, 3.0))
    rates = ((0, 2, 10.0), (0, 1, 5.0), (1, 2, 4.0), (1, 1, 3.0))
    found.bare.extend(Bare(round, "lite", sessions, 1, 50.0, rate) for round, sessions, rate in rates)
    baseline = next(table for table in tables(found) if table.title.startswith("Baseline"))
    shares = {row[1]: row[-1] for row in baseline.rows}
    assert shares["session.run, 2 × 1 thread(s)"] == "100%"
    assert shares["session.run, 1 × 1 thread(s)"] == "62%"  # of 50 and 75
    assert shares["ours, 0.7 MP, 4 client(s)"] == "78%"  # of 80 and 75


def test_markdown_right_aligns_numbers() -> None:
    assert markdown_table(["a", "b"], [["x", "1"]]) == ["| a | b |", "| --- | ---: |", "| x | 1 |"]


def test_the_longest_bar_fills_the_panel() -> None:
    chart = bar_chart([Panel("Photos & more", [Group("1 client", [Bar("rembg", 2.0), Bar("ours", 8.0)])])])
    boxes = ElementTree.fromstring(chart).findall("{*}rect[@x='110.0']")  # noqa: S314  # our own
    rembg, ours = (float(box.attrib["width"]) for box in boxes)
    assert ours == pytest.approx(4 * rembg, abs=0.1)


def test_a_disturbed_run_is_repeated_and_the_least_disturbed_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(*shares: float) -> list[float]:
        left = [*shares]
        monkeypatch.setattr(CpuTimes, "stolen_since", lambda _: left.pop(0))
        runs = [*shares]
        return [*undisturbed(lambda: runs.pop(0)), len(runs)]

    assert measured(0.01, 0.0) == [0.01, 0.01, 1]
    assert measured(0.4, 0.05, 0.0) == [0.05, 0.05, 1]
    assert measured(0.4, 0.2, 0.3, 0.25, 0.0) == [0.2, 0.2, 1]
