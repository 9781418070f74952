"""Pages of the documentation, and their tables."""

from __future__ import annotations

from tests.support.configuration import ROOT

__all__ = ["API", "METRICS_PAGE", "table_below"]

API = (ROOT / "docs/api.md").read_text(encoding="utf-8")
METRICS_PAGE = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")


def table_below(heading: str, text: str = API) -> list[list[str]]:
    """Return the cells of the first table below a heading, without its head."""
    lines = text[text.index(f"\n{heading}") :].splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("|"))
    rows = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return [[cell.strip("| ") for cell in row] for row in rows[2:]]
