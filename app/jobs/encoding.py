"""Parts of jobs as JSON texts, for stores."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict

from app.jobs.model import ItemError, Output, Variant

__all__ = ["dump_error", "dump_outputs", "dump_variants", "load_error", "load_outputs", "load_variants"]


def dump_variants(variants: Iterable[Variant]) -> str:
    """Return variants as a JSON text."""
    return json.dumps([[variant.name, dict(variant.fields)] for variant in variants])


def load_variants(text: str) -> tuple[Variant, ...]:
    """Return variants from their JSON text."""
    return tuple(Variant(name, fields) for name, fields in json.loads(text))


def dump_outputs(outputs: Iterable[Output]) -> str:
    """Return outputs as a JSON text, empty for none."""
    objects = [asdict(output) for output in outputs]
    return json.dumps(objects) if objects else ""


def load_outputs(text: str) -> tuple[Output, ...]:
    """Return outputs from their JSON text."""
    return tuple(Output(**fields) for fields in json.loads(text)) if text else ()


def dump_error(error: ItemError | None) -> str:
    """Return an error as a JSON text, empty for none."""
    return json.dumps(asdict(error)) if error else ""


def load_error(text: str) -> ItemError | None:
    """Return an error from its JSON text."""
    return ItemError(**json.loads(text)) if text else None
