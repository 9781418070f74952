"""Names of the outputs of a job: unique within it, and decided once, when it is made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from app.file_names import EXTENSIONS, safe_name, safe_stem, same_file_key
from app.jobs.model import Job, NewItem

__all__ = ["output_path", "with_bases"]

NAMELESS = "photo"


def with_bases(items: Iterable[NewItem]) -> tuple[NewItem, ...]:
    """Return the items with the names of their outputs: the photo's own, or with `-2`, `-3` … if that is taken."""
    taken, used = set[str](), Counter[str]()
    named = list[NewItem]()
    for item in items:
        stem = safe_stem(item.name) or NAMELESS
        base, key = stem, same_file_key(stem)
        # The counter goes on where it was, so that a thousand equal names take a thousand steps.
        while same_file_key(base) in taken:
            used[key] += 1
            base = f"{stem}-{used[key] + 1}"
        taken.add(same_file_key(base))
        named.append(replace(item, base=base))
    return tuple(named)


def output_path(job: Job, base: str, variant: str, mimetype: str) -> str:
    """Return the path of an output in the ZIP: in a folder of its variant if the job has several."""
    name = f"{base}.{EXTENSIONS[mimetype]}"
    return f"{safe_name(variant) or '_'}/{name}" if len(job.variants) > 1 else name
