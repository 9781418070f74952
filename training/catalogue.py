"""Catalogue of the sets: source, licence, origin of the masks, photos for validation."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import click

from training.photos import Photo

__all__ = ["Facts", "facts_of", "read_facts"]

OWN_FACTS = Path(__file__).with_name("sets.toml")
HUMAN = {"human", "exact"}
NON_COMMERCIAL = re.compile(r"non-?\s?commercial|\bnc\b|-nc-", re.IGNORECASE)
VALIDATION = re.compile(r"(last|every) ([1-9]\d*)")


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts about a set; training/sets.toml explains them."""

    source: str = "not stated"
    licence: str = "none stated"
    masks: str = ""
    validation: str = ""
    factor: float = 1.0
    threshold: bool = False
    background: bool = False

    def split(self, photos: Sequence[Photo]) -> tuple[list[Photo], list[Photo]]:
        """Return the photos for training and those for validation, by the order of their names."""
        if not self.validation:
            return list(photos), []
        kind, number = self.validation.split()
        count = int(number)
        if kind == "last":
            return list(photos[:-count]), list(photos[-count:])
        return [photo for index, photo in enumerate(photos) if index % count], list(photos[::count])


def read_facts(data: Path) -> dict[str, Facts]:
    """Return the facts by name of set, from DATA/sets.toml if it exists; raise UsageError for bad ones."""
    path = data / "sets.toml" if (data / "sets.toml").is_file() else OWN_FACTS
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
        return {name: _parsed(name, table) for name, table in tables.items()}
    except (tomllib.TOMLDecodeError, ValueError) as error:
        raise click.UsageError(f"{path}: {error}") from error


def facts_of(name: str, facts: dict[str, Facts], *, masked: bool) -> Facts:
    """Return the facts of a set, also of an unknown one; `masked` is whether its photos came with masks."""
    if masked:
        return facts.get(name) or Facts(masks="human", validation="every 20")
    return replace(facts.get(name) or Facts(), masks="", validation="")  # its masks were removed: a teacher makes them


def _parsed(name: str, table: object) -> Facts:
    if not isinstance(table, dict):
        raise ValueError(f"{name!r} is not a table.")
    kinds = {field.name: str(field.type) for field in fields(Facts)}
    if unknown := table.keys() - kinds.keys():
        raise ValueError(f"[{name}] has unknown keys: {', '.join(sorted(unknown))}. Known: {', '.join(kinds)}")
    for key, value in table.items():
        accepted = (int, float) if kinds[key] == "float" else {"str": str, "bool": bool}[kinds[key]]
        if not isinstance(value, accepted):
            raise ValueError(f"[{name}] {key} = {value!r} is not a {kinds[key]}.")
    facts = Facts(**table)
    if facts.validation and not VALIDATION.fullmatch(facts.validation):
        raise ValueError(f"[{name}] validation = {facts.validation!r} is not 'last N' or 'every N'.")
    if facts.validation and facts.masks not in HUMAN:
        raise ValueError(f"[{name}] validates, but its masks are neither 'human' nor 'exact'.")
    if NON_COMMERCIAL.search(facts.licence):
        raise ValueError(f"[{name}] has a non-commercial licence, {facts.licence!r}: remove the set from the data.")
    return facts
