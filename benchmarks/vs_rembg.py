"""Compare rembg's server and this one side by side, with the same ONNX files: `python -m benchmarks.vs_rembg`.

Also measured: a baseline (the bare model on all cores, each stage alone), other numbers of engines and threads, and
cold starts. `--json` writes the figures, from which `python -m benchmarks.report` writes docs/performance.md.
"""

from __future__ import annotations

import argparse
import io
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from app.engine.container import cpu_quota
from benchmarks.console import NONE, at_least_one, counts, milliseconds, positive, print_table, run_command, write_json
from benchmarks.contenders import Contender, Model, embedded_model, install_rembg, model_from, our_server, rembg_server
from benchmarks.figures import Cell, ColdStart, Figures, Layout, Machine, Shot
from benchmarks.floor import bare_runs, lone_stages
from benchmarks.photos import photo_of
from benchmarks.runs import Plan, Result, layouts, make_run, server_runs
from benchmarks.tables import tables

PARTS = ("servers", "baseline", "layouts", "cold-start")
PHOTOS = ("0.3", "0.7", "2", "12")
# Photo of measurements with one photo only.
USUAL_PHOTO = "0.7"
EMBEDDED = ("lite", "u2netp")
BARE_SECONDS = 4.0
# Instruction sets that decide the speed of an inference, as named in /proc/cpuinfo.
VECTOR_FLAGS = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile")
# Default of MAX_DIMENSION, px.
DEFAULT_SIDE = 2048


def main() -> int:
    """Measure, print, and return the exit status; an interrupted run prints and writes its figures so far."""
    arguments = _arguments()
    plan = Plan(dict(map(_photo, arguments.photos)), arguments.clients, arguments.seconds)
    figures = _empty_figures(plan, arguments)
    try:
        with TemporaryDirectory() as home:
            for model in _models(arguments, Path(home)):
                _measure_model(figures, plan, model, arguments)
    finally:
        for table in tables(figures):
            print(f"\n{table.title}")
            print_table(table.header, table.rows)
        write_json(arguments.json, asdict(figures))
    return 0 if all(cell.load.photos for cell in figures.cells) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.vs_rembg", description=__doc__)
    add = parser.add_argument
    add("--photos", nargs="+", default=PHOTOS, metavar="MP", help="megapixels, or JPEG files (default: 0.3 0.7 2 12)")
    add("--clients", type=at_least_one, nargs="+", default=[1, 4, 16], help="clients of each run (default: 1 4 16)")
    add("--seconds", type=positive, default=10.0, help="length of each run (default: 10)")
    add("--rounds", type=at_least_one, default=2, help="runs of each server (default: 2)")
    add(
        "--model",
        type=Path,
        nargs="*",
        default=[],
        metavar="ONNX",
        help="more graphs like U2-Net's, to measure their times",
    )
    add("--embedded", nargs="*", default=EMBEDDED, choices=EMBEDDED, help="embedded models (default: lite u2netp)")
    add("--ours", type=Path, metavar="PATH", help="another checkout of this service to measure")
    add("--parts", nargs="+", choices=PARTS, default=PARTS, help="parts to measure (default: all)")
    add("--json", type=Path, metavar="FILE", help="file for the figures")
    return parser.parse_args()


def _empty_figures(plan: Plan, arguments: argparse.Namespace) -> Figures:
    versions = install_rembg() if "servers" in arguments.parts else {}
    shots = [_shot(name, photo) for name, photo in plan.photos.items()]
    return Figures(_machine(versions), arguments.seconds, arguments.rounds, shots)


def _models(arguments: argparse.Namespace, home: Path) -> Iterator[Model]:
    for name in arguments.embedded:
        yield embedded_model(name, home / name)
    for path in arguments.model:
        yield model_from(path, home / path.stem)


def _photo(text: str) -> tuple[str, bytes]:
    """Return a name and a photo for megapixels or for a file."""
    if Path(text).is_file():
        return Path(text).name, Path(text).read_bytes()
    return text, photo_of(positive(text))


def _shot(name: str, photo: bytes) -> Shot:
    with Image.open(io.BytesIO(photo)) as image:
        return Shot(name, *image.size, len(photo))


def _machine(rembg: dict[str, str]) -> Machine:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    processor = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
    ours = {name: version(name) for name in ("onnxruntime", "numpy", "pillow", "gunicorn")}
    known = next((line.partition(": ")[2].split() for line in lines if line.startswith("flags")), [])
    flags = tuple(flag for flag in VECTOR_FLAGS if flag in known)
    return Machine(processor, cpu_quota(), platform.python_version(), ours, rembg, os.getloadavg()[0], flags)


def _measure_model(figures: Figures, plan: Plan, model: Model, arguments: argparse.Namespace) -> None:
    """Measure one model, with rounds of compared runs close together in time."""
    usual = USUAL_PHOTO if USUAL_PHOTO in plan.photos else next(iter(plan.photos))
    for shot in figures.shots:
        for number in range(arguments.rounds):
            if "servers" in arguments.parts:
                for contender in _contenders(shot, arguments.ours):
                    _keep(figures, server_runs(plan, contender, model, shot.name, number))
            if "baseline" in arguments.parts and shot.name == usual:
                figures.bare.extend(bare_runs(model, BARE_SECONDS, number))
    for number in range(arguments.rounds):
        if "layouts" in arguments.parts:
            _keep(figures, layouts(plan, model, usual, number))
        if "cold-start" in arguments.parts:
            _keep(figures, iter([make_run(plan, model, usual, number)]))
    if "baseline" in arguments.parts:
        figures.lone.extend(lone_stages(model, plan.photos))


def _contenders(shot: Shot, other: Path | None) -> Sequence[Contender]:
    """Return the servers for a photo: all at its full size, as rembg's, and ours also with its default size."""
    longer = max(shot.width, shot.height)
    full = {"MAX_DIMENSION": str(max(longer, DEFAULT_SIDE))}
    contenders = [rembg_server(), our_server(full)]
    if other:
        contenders.insert(1, our_server(full, f"ours in {other.name}", other.resolve()))
    if longer > DEFAULT_SIDE:
        contenders.append(our_server({}, f"ours at {DEFAULT_SIDE} px"))
    return contenders


def _keep(figures: Figures, results: Iterator[Result]) -> None:
    """Add results to the figures, and print each at once."""
    for result in results:
        print(_line(result), file=sys.stderr, flush=True)
        if isinstance(result, Layout):
            figures.layouts.append(result)
        elif isinstance(result, ColdStart):
            figures.cold_starts.append(result)
        else:
            figures.cells.append(result)


def _line(result: Result) -> str:
    if isinstance(result, ColdStart):
        return f"{result.model} {result.photo} {result.contender}: first result after {result.seconds:.2f} s"
    if isinstance(result, Layout):
        return f"{result.engines} engine(s) of {result.threads} thread(s), {_line(result.cell)}"
    return _cell_line(result)


def _cell_line(cell: Cell) -> str:
    load = cell.load
    failures = f", failed: {counts(load.failures)}" if load.failures else ""
    cpu = NONE if cell.cpu_ms is None else milliseconds(cell.cpu_ms)
    return (
        f"{cell.model} {cell.photo} {cell.contender} {load.clients} client(s): {load.photos_per_second:.2f}/s, "
        f"median {milliseconds(load.median_ms)} ms, {cpu} CPU ms, {cell.peak_pss / 1e6:.0f} MB{failures}"
    )


if __name__ == "__main__":
    sys.exit(run_command(main))
