"""Search for photos in files and folders, and names of their outputs.

`shoe.jpg` becomes `shoe.png`. Where two photos of a folder would have the same output (`shoe.jpg` and `shoe.webp`),
both keep their endings: `shoe.jpg.png` and `shoe.webp.png`. A name thus depends on the folder's content only, not on
the order of work, so that an interrupted run can be continued.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.cli.remove.outcomes import Failure, printable

__all__ = ["ENDINGS", "Found", "Search", "output_bases"]

ENDINGS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif"}
)
Identity = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Found:
    """A photo, and the path of its output without the format's ending: relative to the output folder, if any."""

    source: Path
    base: Path


def output_bases(names: Sequence[str]) -> dict[str, str]:
    """Return for each of a folder's photos its output's name without the format's ending; no two are equal."""
    stems = Counter(_stem(name).casefold() for name in names)
    taken = {name.casefold() for name in names}
    return {
        name: name if stems[_stem(name).casefold()] > 1 or _stem(name).casefold() in taken else _stem(name)
        for name in names
    }


def _stem(name: str) -> str:
    return os.path.splitext(name)[0]


@dataclass(frozen=True, slots=True)
class Search:
    """Search for photos below `inputs`; `output` is left out, None means beside each photo.

    `on_problem` receives what could not be searched.
    """

    inputs: tuple[Path, ...]
    output: Path | None
    recursive: bool
    on_problem: Callable[[Path, Failure], None]

    def count(self) -> int:
        """Return the number of photos, without reports of problems."""
        return sum(1 for _ in Search(self.inputs, self.output, self.recursive, lambda *_: None).found())

    def found(self) -> Iterator[Found]:
        """Yield every photo, sorted within each folder; only one folder's names are in memory."""
        # Path.is_dir raises for a folder that may not be searched and for a name that is too long.
        files = [path for path in self.inputs if not os.path.isdir(path)]
        yield from self._files(files)
        for path in self.inputs:
            if os.path.isdir(path):
                yield from self._below(path)

    def _files(self, files: Sequence[Path]) -> Iterator[Found]:
        """Yield the files that were named one by one, of any ending."""
        groups: dict[Path, list[Path]] = {}
        for path in dict.fromkeys(files):
            groups.setdefault(path.parent if self.output is None else Path(), []).append(path)
        for folder, paths in groups.items():
            bases = output_bases(list(dict.fromkeys(path.name for path in paths)))
            for path in paths:
                if problem := _problem_of_file(path):
                    self.on_problem(path, problem)
                else:
                    yield Found(path, folder / bases[path.name])

    def _below(self, root: Path) -> Iterator[Found]:
        waiting, seen = [(root, Path())], set[Identity]()
        excluded = _identity(self.output) if self.output else None
        while waiting:
            folder, relative = waiting.pop()
            identity = _identity(folder)
            if identity == excluded:
                continue
            if identity in seen:
                self.on_problem(folder, Failure("LINK_LOOP", "This link leads to a folder that was searched already."))
                continue
            if identity:
                seen.add(identity)
            try:
                with os.scandir(folder) as entries:
                    visible = sorted((e for e in entries if not e.name.startswith(".")), key=lambda e: e.name)
            except OSError as error:
                self.on_problem(folder, Failure("FOLDER_UNREADABLE", _reason(error)))
                continue
            yield from _photos(visible, folder, relative)
            if self.recursive:
                folders = [entry.name for entry in visible if _is_folder(entry)]
                waiting += [(folder / name, relative / name) for name in reversed(folders)]


def _photos(entries: Iterable[os.DirEntry[str]], folder: Path, relative: Path) -> Iterator[Found]:
    names = [e.name for e in entries if os.path.splitext(e.name)[1].lower() in ENDINGS and not _is_folder(e)]
    for name, base in output_bases(names).items():
        yield Found(folder / name, relative / base)


def _problem_of_file(path: Path) -> Failure | None:
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return Failure("NOT_FOUND", "The file does not exist.")
    except OSError as error:
        return Failure("READ_FAILED", error.strerror or str(error))
    if os.path.exists(path) and not os.path.isfile(path):
        return Failure("NOT_A_FILE", "This is not a regular file; send a pipe's content to '-'.")
    return None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself: reported as a photo that cannot be read, if it has a photo's ending
        return False


def _identity(folder: Path) -> Identity | None:
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _reason(error: OSError) -> str:
    return f"{error.strerror or error}: {printable(error.filename)}" if error.filename else str(error.strerror or error)
