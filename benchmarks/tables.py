"""Tables of the side-by-side benchmark, for the console and the documentation."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.client import STAGES
from benchmarks.console import NONE, counts, megabytes, milliseconds
from benchmarks.contenders import REMBG
from benchmarks.figures import Bare, Cell, Figures, Lone

__all__ = ["BASELINE_PHOTO", "Summary", "Table", "summaries", "tables"]

BASELINE_HEADER = ["model", "run", "median ms", "a second", "of the baseline"]
BARE_FIGURES = ("median_ms", "runs_per_second")
# Photo whose runs are compared with the bare model, megapixels.
BASELINE_PHOTO = "0.7"


@dataclass(frozen=True, slots=True)
class Table:
    """A table with its caption."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Summary:
    """Summary of the rounds of one cell: medians, and the maximum of peaks; a ratio over 1 means better than rembg.

    Disturbed rounds count only where there is no other. `of_floor` is the share of the bare model's best rate, 0..1.
    """

    contender: str
    model: str
    photo: str
    clients: int
    photos_per_second: float
    median_ms: float | None
    p95_ms: float | None
    cpu_ms: float | None
    peak_pss: int
    beyond_stages_ms: float | None
    client_cpu_ms: float | None
    failures: dict[str, int]
    faster: float | None = None
    sooner: float | None = None
    leaner: float | None = None
    smaller: float | None = None
    of_floor: float | None = None


def summaries(cells: Iterable[Cell], bare: Iterable[Bare] = ()) -> list[Summary]:
    """Return the summary of each cell, in the order of measurement."""
    floors = _floors(bare)
    groups: dict[tuple[str, str, int, str], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.model, cell.photo, cell.load.clients, cell.contender), []).append(cell)
    return [_summary(group, groups.get((*key[:3], REMBG), []), floors.get(key[0], {})) for key, group in groups.items()]


def _floors(bare: Iterable[Bare]) -> dict[str, dict[int, float]]:
    """Return the best rate of the bare model in each round, by model."""
    floors: dict[str, dict[int, float]] = {}
    for run in bare:
        rates = floors.setdefault(run.model, {})
        rates[run.round] = max(rates.get(run.round, 0.0), run.runs_per_second)
    return floors


def _calm(cells: Sequence[Cell]) -> Sequence[Cell]:
    """Return the undisturbed runs, or all if there is none."""
    return [cell for cell in cells if not cell.disturbed] or cells


def _summary(measured: Sequence[Cell], rembg: Sequence[Cell], floors: Mapping[int, float]) -> Summary:
    cells, first = _calm(measured), measured[0]
    peers = rembg if first.contender != REMBG else []
    failures: dict[str, int] = {}
    for cell in measured:
        failures |= {name: failures.get(name, 0) + number for name, number in cell.load.failures.items()}
    return Summary(
        first.contender,
        first.model,
        first.photo,
        first.load.clients,
        statistics.median(map(_rate, cells)),
        _median(cell.load.median_ms for cell in cells),
        _median(cell.load.p95_ms for cell in cells),
        _median(cell.cpu_ms for cell in cells),
        max(cell.peak_pss for cell in measured),
        _median(cell.load.beyond_stages_ms for cell in cells),
        _median(cell.load.client_cpu_ms for cell in cells),
        failures,
        faster=_ratio(measured, peers, _rate),
        sooner=_ratio(peers, measured, lambda cell: cell.load.median_ms),
        leaner=_ratio(peers, measured, lambda cell: cell.cpu_ms),
        smaller=_ratio(peers, measured, lambda cell: cell.peak_pss),
        of_floor=_median(_rate(cell) / floors[cell.round] for cell in cells if cell.round in floors),
    )


def _rate(cell: Cell) -> float:
    return cell.load.photos_per_second


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _ratio(above: Sequence[Cell], below: Sequence[Cell], figure: Callable[[Cell], float | None]) -> float | None:
    """Return the median over rounds of the quotient of two figures in the same round, of undisturbed rounds if any."""
    others = {cell.round: cell for cell in below}
    pairs = [(cell, others[cell.round]) for cell in above if cell.round in others]
    calm = [pair for pair in pairs if not any(cell.disturbed for cell in pair)] or pairs
    figures = [(figure(top), figure(bottom)) for top, bottom in calm]
    return _median(top / bottom for top, bottom in figures if top is not None and bottom)


def tables(figures: Figures) -> Iterator[Table]:
    """Yield a table for each measured part."""
    found = summaries(figures.cells, figures.bare)
    for model in dict.fromkeys(each.model for each in found):
        yield _comparison(model, [each for each in found if each.model == model])
    if any(each.clients == 1 for each in found):
        yield _overhead(found)
    if any(each.failures for each in found):
        yield _failures(found)
    if figures.bare:
        yield _baseline(figures, found)
    if figures.lone:
        yield _stages(figures.lone)
    if figures.layouts:
        yield _layouts(figures)
    if figures.cold_starts:
        yield _cold_starts(figures)


def _comparison(model: str, found: Sequence[Summary]) -> Table:
    header = ["photo", "clients", "server", "photos/s", "median ms", "p95 ms", "CPU ms", "peak MB", "of the floor"]
    ratios = ["× photos/s", "× median", "× CPU", "× memory"]
    photos = [*dict.fromkeys(each.photo for each in found)]
    ordered = sorted(found, key=lambda each: (photos.index(each.photo), each.clients))
    title = f"Model {model}: servers alternately; × is the factor by which it is better than rembg in the same round"
    return Table(title, [*header, *ratios], [_comparison_row(each) for each in ordered])


def _comparison_row(each: Summary) -> list[str]:
    times = map(milliseconds, (each.median_ms, each.p95_ms, each.cpu_ms))
    ratios = map(_times, (each.faster, each.sooner, each.leaner, each.smaller))
    return [
        each.photo,
        str(each.clients),
        each.contender,
        f"{each.photos_per_second:.2f}",
        *times,
        megabytes(each.peak_pss),
        NONE if each.of_floor is None else f"{each.of_floor:.0%}",
        *ratios,
    ]


def _overhead(found: Sequence[Summary]) -> Table:
    """Return the time of a photo outside of its stages with one client, and the cost of the measurement itself."""
    rows = [
        [each.model, each.photo, each.contender, milliseconds(each.beyond_stages_ms), milliseconds(each.client_cpu_ms)]
        for each in found
        if each.clients == 1
    ]
    header = ["model", "photo", "server", "outside of stages", "CPU of the client"]
    return Table("Time outside of the stages, ms per photo with 1 client", header, rows)


def _failures(found: Sequence[Summary]) -> Table:
    rows = [
        [each.model, each.photo, str(each.clients), each.contender, counts(each.failures)]
        for each in found
        if each.failures
    ]
    return Table("Failed requests, not included above", ["model", "photo", "clients", "server", "failures"], rows)


def _times(ratio: float | None) -> str:
    return NONE if ratio is None else f"{ratio:.2f}"


def _baseline(figures: Figures, found: Sequence[Summary]) -> Table:
    """Compare the bare model and the best run of each server with the best bare run of the same round."""
    rows = []
    for model in dict.fromkeys(bare.model for bare in figures.bare):
        layouts: dict[tuple[int, int], list[Bare]] = {}
        for bare in figures.bare:
            if bare.model == model:
                layouts.setdefault((bare.sessions, bare.threads), []).append(bare)
        baselines = _floors(figures.bare)[model]
        for (sessions, threads), runs in layouts.items():
            middle, rate = (statistics.median(getattr(run, name) for run in runs) for name in BARE_FIGURES)
            share = _share((run.runs_per_second, baselines[run.round]) for run in runs)
            rows.append(
                [model, f"session.run, {sessions} × {threads} thread(s)", milliseconds(middle), f"{rate:.2f}", share]
            )
        rows.extend(_best_rows(figures, model, found, baselines))
    return Table("Baseline: the bare model, and the best run of each server", BASELINE_HEADER, rows)


def _best_rows(
    figures: Figures, model: str, found: Sequence[Summary], baselines: Mapping[int, float]
) -> Iterator[list[str]]:
    own = [each for each in found if each.model == model and each.photo == BASELINE_PHOTO]
    for contender in dict.fromkeys(each.contender for each in own):
        best = max((each for each in own if each.contender == contender), key=lambda each: each.photos_per_second)
        name = f"{contender}, {best.photo} MP, {best.clients} client(s)"
        key = (contender, model, best.photo, best.clients)
        share = _share(
            (_rate(cell), baselines[cell.round])
            for cell in figures.cells
            if (cell.contender, cell.model, cell.photo, cell.load.clients) == key and cell.round in baselines
        )
        yield [model, name, milliseconds(best.median_ms), f"{best.photos_per_second:.2f}", share]


def _share(pairs: Iterable[tuple[float, float]]) -> str:
    """Return the median quotient of pairs, in percent."""
    shares = [part / whole for part, whole in pairs]
    return f"{statistics.median(shares):.0%}" if shares else NONE


def _stages(lone: Sequence[Lone]) -> Table:
    rows = [
        [
            f"{each.model} {each.photo}",
            str(each.threads),
            *(milliseconds(each.stages_ms[stage]) for stage in STAGES),
            milliseconds(sum(each.stages_ms.values())),
        ]
        for each in lone
    ]
    return Table("Each stage alone, in a separate process, ms", ["model, photo", "threads", *STAGES, "total"], rows)


def _layouts(figures: Figures) -> Table:
    groups: dict[tuple[int, int], list[Cell]] = {}
    for layout in figures.layouts:
        groups.setdefault((layout.engines, layout.threads), []).append(layout.cell)
    rows = [
        [
            each.model,
            f"{engines} × {threads}",
            str(each.clients),
            f"{each.photos_per_second:.2f}",
            *map(milliseconds, (each.median_ms, each.p95_ms, each.cpu_ms)),
            megabytes(each.peak_pss),
        ]
        for (engines, threads), cells in groups.items()
        for each in summaries(cells)
    ]
    header = ["model", "engines × threads", "clients", "photos/s", "median ms", "p95 ms", "CPU ms", "peak MB"]
    return Table("Engines and threads", header, sorted(rows, key=lambda row: row[0]))


def _cold_starts(figures: Figures) -> Table:
    groups: dict[tuple[str, str], list[float]] = {}
    for start in figures.cold_starts:
        groups.setdefault((start.model, start.contender), []).append(start.seconds)
    rows = [[*key, f"{statistics.median(seconds):.2f}", f"{max(seconds):.2f}"] for key, seconds in groups.items()]
    return Table("Time from start to the first result, s", ["model", "server", "median", "maximum"], sorted(rows))
