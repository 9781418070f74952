"""Sections of documents that benchmarks write; the rest of a document is written by hand or by another benchmark."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

__all__ = ["section_of", "write_section"]


def section_of(text: str, title: str) -> str:
    """Return a section with its heading, up to the next one of the same level; empty if there is none."""
    found = re.search(rf"^## {re.escape(title)}\n.*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return found[0] if found else ""


def write_section(path: Path, title: str, lines: Sequence[str]) -> None:
    """Replace a section of a document, or add it at the end."""
    text = path.read_text(encoding="utf-8")
    section = "\n".join([f"## {title}", "", *lines]) + "\n"
    if old := section_of(text, title):
        following = "\n" if not text.endswith(old) else ""
        text = text.replace(old, section + following)
    else:
        text = f"{text}\n{section}"
    path.write_text(text, encoding="utf-8")
