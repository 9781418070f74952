"""Sections that benchmarks write into documents."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.sections import section_of, write_section

TEXT = "# Title\n\nBy hand.\n\n## First\n\nold\n\n### Part\n\nold\n\n## Last\n\nkept\n"


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("First", "# Title\n\nBy hand.\n\n## First\n\nnew\n\n## Last\n\nkept\n"),
        ("Last", "# Title\n\nBy hand.\n\n## First\n\nold\n\n### Part\n\nold\n\n## Last\n\nnew\n"),
        ("New", f"{TEXT}\n## New\n\nnew\n"),
    ],
)
def test_only_the_section_changes(title: str, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "text.md"
    path.write_text(TEXT, encoding="utf-8")
    for _ in range(2):  # the second time changes nothing
        write_section(path, title, ["new"])
        assert path.read_text(encoding="utf-8") == expected


def test_a_section_ends_before_the_next_one() -> None:
    assert section_of(TEXT, "First") == "## First\n\nold\n\n### Part\n\nold\n\n"
    assert section_of(TEXT, "Missing") == ""
