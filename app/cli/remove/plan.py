"""Plan of a run: options of its photos, their outputs in order, and new photos for `--watch`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from app import file_names
from app.cli.remove.files import is_newer
from app.cli.remove.outcomes import Failure, Outcome, printable
from app.cli.remove.photos import Found, Search
from app.cli.remove.run import Output, Photo, Run
from app.engine import weights
from app.engine.models import REGISTRY
from app.errors import InvalidParameter
from app.options.parameters import parse_native
from app.options.presets import apply_preset, load_presets
from app.removal import RemovalOptions
from app.settings import Settings

__all__ = ["EXTENSIONS", "Outputs", "Variant", "planned", "service_settings", "variants", "watched"]

WATCH_SECONDS = 2.0
# Endings of outputs by format.
EXTENSIONS = {mimetype.partition("/")[2].upper(): ending for mimetype, ending in file_names.EXTENSIONS.items()}


@dataclass(frozen=True, slots=True)
class Variant:
    """One output of each photo; `folder` is the name of its preset if there are several, else empty."""

    folder: str
    options: RemovalOptions


def variants(fields: Mapping[str, str], presets: Sequence[str], settings: Settings) -> list[Variant]:
    """Return the outputs of each photo: one per preset; raise InvalidParameter."""
    known = load_presets(settings.presets_file)
    models = tuple(dict.fromkeys((settings.model_name, *REGISTRY)))
    names = list(dict.fromkeys(name.strip().lower() for name in presets))
    made = list[Variant]()
    for name in names or [""]:
        texts = apply_preset({**fields, **({"preset": name} if name else {})}, known)
        parsed = parse_native(texts, models=models, longest_side=settings.max_dimension, accepted_format="PNG")
        made.append(Variant(name if len(names) > 1 else "", parsed.options))
    return made


def service_settings(settings: Settings, used: Sequence[str], engines: int | None) -> Settings:
    """Return the settings of the engines for these models only; raise InvalidParameter for one without weights."""
    for name in used:
        if not weights.find_all(REGISTRY[name], settings.rembg_home):
            raise InvalidParameter(
                f"The weights of model {name!r} are not installed.",
                solution=f"Download them: python -m app models pull {name}",
                parameter="model",
            )
    changes: dict[str, object] = {
        "model_name": used[0],
        "models_allowed": tuple(used),
        "web_concurrency": 1,
        # A batch fills the queue all the time; its results must not depend on that.
        "auto_under_load": "same",
        # Problems of engines go to stderr; the service's log file may belong to another user.
        "log_file": None,
        "log_level": "ERROR" if settings.log_level == "INFO" else settings.log_level,
    }
    return settings.model_copy(update=changes | ({"engine_processes": engines} if engines else {}))


class Outputs:
    """Paths of the outputs; a path that another photo already has is a failure, not an overwritten file."""

    def __init__(self, variants: Sequence[Variant], folder: Path | None, file: Path | None = None) -> None:
        self._variants = variants
        self._folder = folder
        self._file = file

    @property
    def per_photo(self) -> int:
        """Return the number of outputs of a photo."""
        return len(self._variants)

    def of(self, found: Found) -> Iterator[Output]:
        """Yield the outputs of a photo."""
        for variant in self._variants:
            base = Path(self._folder or "", variant.folder, found.base)
            named = base.with_name(f"{base.name}.{EXTENSIONS[variant.options.format]}")
            if named == found.source:  # a PNG whose output is a PNG beside it
                named = base.with_name(f"{found.source.name}.{EXTENSIONS[variant.options.format]}")
            yield Output(self._file or named, variant.options)


def planned(search: Search, outputs: Outputs, run: Run) -> Iterator[Photo]:
    """Yield all photos with their outputs; report two photos of different inputs with the same output."""
    taken = set[Path]()
    for found in search.found():
        free = []
        for output in outputs.of(found):
            if output.target in taken:
                message = f"Another photo has the output {printable(output.target)}; process it with another -o."
                run.record(Outcome.failed(found.source, Failure("SAME_OUTPUT", message)))
                continue
            if len(search.inputs) > 1:  # within one input all names differ
                taken.add(output.target)
            free.append(output)
        yield Photo(found.source, tuple(free))


def watched(search: Search, outputs: Outputs, run: Run) -> Iterator[Photo]:
    """Yield new and changed photos, once their size and time are unchanged between two looks, until the run stops."""
    quiet = Search(search.inputs, search.output, search.recursive, lambda *_: None)
    tried: dict[Path, tuple[int, int]] = {}
    before: dict[Path, tuple[int, int]] = {}
    while not run.stopped.wait(WATCH_SECONDS):
        now: dict[Path, tuple[int, int]] = {}
        for found in quiet.found():
            ready = []
            for output in outputs.of(found):
                if run.in_work(output.target) or is_newer(output.target, found.source):
                    tried.pop(output.target, None)
                    continue
                if (state := _state(found.source)) is None or tried.get(output.target) == state:
                    continue
                if before.get(output.target) == state:
                    tried[output.target] = state
                    ready.append(output)
                else:
                    now[output.target] = state
            if ready:
                run.tally.total += len(ready)
                yield Photo(found.source, tuple(ready))
        before = now


def _state(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
