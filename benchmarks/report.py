"""Write docs/performance.md and its plot from the figures of runs: `python -m benchmarks.report FILE [FILE …]`."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Iterator, Sequence

from benchmarks.chart import Bar, Group, Panel, bar_chart
from benchmarks.figures import Figures, Machine, read_figures
from benchmarks.jobs import TITLE as JOBS_TITLE
from benchmarks.markdown import markdown_table
from benchmarks.sections import section_of
from benchmarks.server import ROOT
from benchmarks.tables import BASELINE_PHOTO, Summary, Table, summaries, tables

TEXT = ROOT / "docs/performance.md"
PLOT = ROOT / "docs/performance.svg"
LINE = 120
INTRODUCTION = (
    "Written by `python -m benchmarks.report` from a run of `make bench`. Figures depend on the machine, so compare "
    "the ratios, and measure on your own machine."
)
CONTEST = (
    "rembg's own server (`rembg s --no-ui`) and this one run alternately with the same ONNX files: {rounds} round(s) "
    "of {seconds} s per cell after a warm-up, with default settings, PNG output and without rate limits. Ours also "
    "refines edges and colours, which rembg's does not by default. Both answer at the photo's size; `ours at 2048 px` "
    "has the default MAX_DIMENSION. `u2netp` has rembg's own weights: random ones take the same time (473 and 468 ms "
    "of CPU time for a bare run), but their mask is all edges, so they were measured without refinement, and their "
    "PNGs are half as large again (1.08 and 0.69 MB at 0.7 megapixels). Photos, in megapixels: {photos}."
)
COLUMNS = (
    "`CPU ms` is the CPU time of all processes of a server per photo, `peak MB` their maximum memory (PSS, MiB). The "
    "clients are threads with persistent connections, which neither decode nor store answers. A run in which other "
    "machines on the host took over 5 % of the cores is repeated, up to three times; the least disturbed one counts, "
    "and rounds that stay disturbed are left out where there are others. `of the floor` is the share of the "
    "rate of the bare `session.run` on all cores, which no server can exceed."
)


def main() -> int:
    """Write both files and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument(
        "files", type=read_figures, nargs="+", metavar="FILE", help="figures written by --json, of one machine"
    )
    figures = _together(parser.parse_args().files)
    PLOT.write_text(bar_chart([*_panels(figures)]), encoding="utf-8")
    jobs = section_of(TEXT.read_text(encoding="utf-8"), JOBS_TITLE) if TEXT.exists() else ""
    TEXT.write_text(_text(figures) + (f"\n{jobs}" if jobs else ""), encoding="utf-8")
    return 0


def _together(runs: Sequence[Figures]) -> Figures:
    """Merge the figures of several runs; the machine is that of the first."""
    first = runs[0]
    return Figures(
        first.machine,
        first.seconds,
        first.rounds,
        shots=[*dict.fromkeys(shot for run in runs for shot in run.shots)],
        cells=[cell for run in runs for cell in run.cells],
        cold_starts=[start for run in runs for start in run.cold_starts],
        layouts=[layout for run in runs for layout in run.layouts],
        bare=[bare for run in runs for bare in run.bare],
        lone=[lone for run in runs for lone in run.lone],
    )


def _panels(figures: Figures) -> Iterator[Panel]:
    """Yield photos a second by clients for each model, with the rate of the bare model."""
    found = [each for each in summaries(figures.cells) if each.photo == BASELINE_PHOTO]
    for model in dict.fromkeys(each.model for each in found):
        own = [each for each in found if each.model == model]
        bare = max((each.runs_per_second for each in figures.bare if each.model == model), default=0.0)
        groups = [_group(clients, own) for clients in dict.fromkeys(each.clients for each in own)]
        if bare:
            groups.append(Group("no service", [Bar("bare session.run", bare)]))
        yield Panel(f"Photos a second, model {model}, {BASELINE_PHOTO} MP", groups)


def _group(clients: int, found: Sequence[Summary]) -> Group:
    bars = [Bar(each.contender, each.photos_per_second) for each in found if each.clients == clients]
    return Group("1 client" if clients == 1 else f"{clients} clients", bars)


def _text(figures: Figures) -> str:
    sections = (line for table in tables(figures) for line in _section(table))
    return "\n".join([*_preface(figures), *sections]) + "\n"


def _preface(figures: Figures) -> list[str]:
    photos = ", ".join(
        f"{shot.name} ({shot.width}×{shot.height}, {shot.bytes / 1000:.0f} kB)" for shot in figures.shots
    )
    facts = {"rounds": figures.rounds, "seconds": f"{figures.seconds:g}", "photos": photos}
    paragraphs = (INTRODUCTION, _machine(figures.machine), CONTEST.format(**facts), COLUMNS)
    introduction, *rest = (textwrap.fill(paragraph, LINE, break_on_hyphens=False) for paragraph in paragraphs)
    return ["# Performance", "", introduction, "", f"![Photos a second]({PLOT.name})", "", "\n\n".join(rest)]


def _machine(machine: Machine) -> str:
    versions = "; ".join(
        f"{name} on {', '.join(f'{package} {number}' for package, number in each.items())}"
        for name, each in (("ours", machine.ours), ("rembg", machine.rembg))
        if each
    )
    flags = f"; {', '.join(machine.flags)}" if machine.flags else ""
    return (
        f"Measured on {machine.cores} cores ({machine.processor}{flags}), Python {machine.python}; {versions}. "
        f"Load average at the start: {machine.load:.1f}."
    )


def _section(table: Table) -> list[str]:
    return ["", f"## {table.title}", "", *markdown_table(table.header, table.rows)]


if __name__ == "__main__":
    sys.exit(main())
