"""Command `remove`: its options, and the wiring of a run."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import click

from app.capacity import plan_capacity
from app.cli.remove.files import read_photo
from app.cli.remove.outcomes import Failure, Outcome, Tally, printable
from app.cli.remove.photos import ENDINGS, Search
from app.cli.remove.plan import EXTENSIONS, Outputs, Variant, planned, service_settings, variants, watched
from app.cli.remove.progress import Progress, ReportFile, open_progress, summary
from app.cli.remove.run import Rules, Run
from app.cli.remove.stream import remove_stream
from app.engine.pool import EnginePool
from app.engine.queue import RemovalQueue
from app.errors import InvalidParameter, ServiceError
from app.options import values
from app.options.parameters import PARAMETERS, WEB_OPTIONS
from app.settings import Settings, SettingsError, load_settings
from app.storage import write_problem

__all__ = ["make_pool", "remove"]

FAILED = 1


def make_pool(settings: Settings) -> tuple[EnginePool, int]:
    """Return a pool of engines as in the service, not started, and the number of engines."""
    capacity = plan_capacity(settings)
    queue = RemovalQueue(capacity.places, settings.max_concurrent_uploads)
    return EnginePool(capacity.config, capacity.engines, queue), capacity.engines


def _parameters(command: Callable[..., None]) -> Callable[..., None]:
    """Add an option for each parameter of the API, under its name with hyphens."""
    for name, parameter in reversed(PARAMETERS.items()):
        if name in WEB_OPTIONS:
            continue
        option = f"--{name.replace('_', '-')}"
        if parameter.kind is values.boolean:
            declared = click.option(f"{option}/--no-{option[2:]}", name, default=None, help=parameter.help)
        else:
            declared = click.option(option, name, metavar="VALUE", help=f"{parameter.help} [{parameter.allowed}]")
        command = declared(command)
    return command


class AnyPath(click.Path):
    """A path as Path, which would take an empty text, such as an unset variable of a shell, for the current folder."""

    def __init__(self) -> None:
        super().__init__(path_type=Path, allow_dash=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path; fail for an empty one."""
        if value == "":
            self.fail("the path is empty", param, ctx)
        return super().convert(value, param, ctx)


@click.command()
@click.argument("inputs", nargs=-1, required=True, type=AnyPath())
@click.option("-o", "--output", type=AnyPath(), help="Output folder or file.")
@click.option("-r", "--recursive", is_flag=True, help="Search subfolders too, and keep their tree.")
@click.option("--watch", is_flag=True, help="Process new photos too, until Ctrl-C.")
@click.option("--overwrite", is_flag=True, help="Replace outputs that exist; newer ones are skipped otherwise.")
@click.option("--engines", type=click.IntRange(1, 256), help="Engine processes; by cores and memory by default.")
@click.option("--preset", "presets", multiple=True, help="Preset of the API; several give a folder each.")
@click.option("--background-file", type=AnyPath(), help="Image behind the subject.")
@click.option("--quiet", is_flag=True, help="Print failures only.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON line per output to stdout.")
@click.option("--report", type=AnyPath(), help="Write one JSON line per output to a file.")
@_parameters
def remove(inputs: tuple[Path, ...], output: Path | None, presets: tuple[str, ...], **options: Any) -> None:
    """Remove the background of photos without a server.

    INPUTS are files, folders, or - for stdin. The output of a single photo is beside it unless -o names another place;
    folders need -o. Exit status: 0 for success, 1 if photos failed or are left, 2 for a usage error.
    """
    fields = {name: _text(options[name]) for name in PARAMETERS if options.get(name) is not None}
    try:
        settings = load_settings()
        if output is not None and "format" not in fields and not presets and (ending := _format_of(output)):
            fields["format"] = ending
        made = variants(fields, presets, settings)
        used = list(dict.fromkeys(variant.options.model for variant in made))
        settings = service_settings(settings, used, options["engines"])
        background = _background(options["background_file"], settings)
    except InvalidParameter as error:
        raise click.UsageError(f"{error.message} {error.advice}") from None
    except SettingsError as error:
        raise click.UsageError(str(error)) from None
    if Path("-") in inputs:
        _check_stream(inputs, output, made, options)
        sys.exit(remove_stream(made[0].options, settings, background, output, make_pool))
    sys.exit(_remove_files(inputs, output, made, settings, background, options))


def _text(value: str | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else value


def _format_of(output: Path) -> str:
    """Return the format by the ending of an output file, empty for a folder or an unknown ending; raise UsageError."""
    endings = {f".{extension}": name for name, extension in EXTENSIONS.items()} | {".jpeg": "JPEG"}
    ending = "" if os.path.isdir(output) else output.suffix.lower()
    if ending in ENDINGS - endings.keys():
        raise click.UsageError(f"-o {printable(output)}: no format has this ending, only {', '.join(sorted(endings))}.")
    return endings.get(ending, "")


def _background(path: Path | None, settings: Settings) -> bytes:
    if path is None:
        return b""
    try:
        return read_photo(path, settings.max_image_bytes)
    except (ServiceError, Failure) as error:
        raise click.UsageError(f"--background-file {printable(path)}: {error}") from None


def _check_stream(
    inputs: Sequence[Path], output: Path | None, made: Sequence[Variant], options: dict[str, Any]
) -> None:
    if len(inputs) > 1 or len(made) > 1 or options["watch"]:
        raise click.UsageError("'-' reads one photo: no other inputs, one preset, and no --watch.")
    if options["as_json"] or options["report"]:
        raise click.UsageError("'-' has neither --json nor --report.")
    if output in (None, Path("-")) and sys.stdout.isatty():
        raise click.UsageError("The picture would be written to the terminal; redirect stdout, or name a file with -o.")


def _check_output(inputs: Sequence[Path], output: Path | None, made: Sequence[Variant], *, watch: bool) -> Path | None:
    """Return the output folder, None for outputs beside their photos or a single output file; raise UsageError."""
    folders = [path for path in inputs if os.path.isdir(path)]
    if output is None:
        if folders or watch or len(made) > 1:
            raise click.UsageError("Folders, --watch and several presets need an output folder: -o FOLDER.")
        return None
    if output == Path("-"):
        raise click.UsageError("'-o -' is for the input '-' only.")
    if any(os.path.exists(output) and output.samefile(folder) for folder in folders):
        raise click.UsageError("The output folder must not be an input folder; a subfolder is possible.")
    single = len(inputs) == 1 and not folders and len(made) == 1 and output.suffix and not os.path.isdir(output)
    if problem := write_problem(output if single else output / "photo.png"):
        raise click.UsageError(f"-o {printable(output)}: {problem}")
    return None if single else output


def _remove_files(
    inputs: tuple[Path, ...],
    output: Path | None,
    made: Sequence[Variant],
    settings: Settings,
    background: bytes,
    options: dict[str, Any],
) -> int:
    """Process files and folders and return the exit status."""
    folder = _check_output(inputs, output, made, watch=options["watch"])
    pool, engines = make_pool(settings)
    rules = Rules(settings.max_image_bytes, settings.request_timeout, options["overwrite"], output is None, background)
    outputs = Outputs(made, folder, output if folder is None else None)
    with ExitStack() as stack:
        displays = _report(stack, options["report"])

        def show(outcome: Outcome, tally: Tally) -> None:
            for display in displays:
                display.update(outcome, tally)

        run = Run(pool, engines, rules, show)
        search = Search(inputs, folder, options["recursive"], lambda p, e: run.record(Outcome.failed(p, e)))
        run.tally.total = search.count() * outputs.per_photo
        displays.append(open_progress(run.tally.total, quiet=options["quiet"], as_json=options["as_json"]))
        stack.callback(displays[-1].close)
        photos = planned(search, outputs, run)
        if options["watch"]:
            photos = chain(photos, watched(search, outputs, run))
        stack.enter_context(_engines(pool))
        run.work(photos, stack.enter_context(_interruptible(run, pool)))
    if not run.tally.total and not run.tally.failed:
        _say_empty(recursive=options["recursive"])
    summary(run.tally, quiet=options["quiet"])
    return FAILED if run.tally.failed or run.tally.left else 0


def _say_empty(*, recursive: bool) -> None:
    endings, hint = ", ".join(sorted(ENDINGS)), "" if recursive else "; --recursive searches subfolders too"
    click.echo(f"No photos were found (endings: {endings}{hint}).", err=True)


def _report(stack: ExitStack, path: Path | None) -> list[Progress]:
    if path is None:
        return []
    try:
        report = ReportFile(path)
    except OSError as error:
        raise click.UsageError(f"--report {printable(path)}: {error.strerror}") from None
    stack.callback(report.close)
    return [report]


@contextmanager
def _engines(pool: EnginePool) -> Iterator[None]:
    pool.start()
    try:
        yield
    finally:
        pool.stop()


@contextmanager
def _interruptible(run: Run, pool: EnginePool) -> Iterator[Callable[[], None]]:
    """Stop the run at the first Ctrl-C, end its engines at the second one; yield a function to call regularly."""
    interrupts = handled = 0

    def handle(number: int, frame: object) -> None:
        nonlocal interrupts
        interrupts += 1
        run.stopped.set()

    def check() -> None:
        nonlocal handled
        if interrupts > handled:
            handled += 1
            if handled == 1:
                click.echo("\nThe photos in the engines are being finished; Ctrl-C again ends at once.", err=True)
            else:
                pool.queue.close()
                pool.stop()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield check
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
