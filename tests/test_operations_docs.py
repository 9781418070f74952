"""The operator's pages know every event, every limit and every code, and invent none."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from app.errors import error_codes
from tests.support.documentation import table_below
from tools.settings_table import setting_rows

ROOT = Path(__file__).parent.parent
OPERATIONS = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
TROUBLESHOOTING = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
SOURCE = "".join(
    path.read_text(encoding="utf-8") for path in [*sorted((ROOT / "app").rglob("*.py")), ROOT / "gunicorn.conf.py"]
)

EVENT = r"[a-z]+\.[a-z_]+"
# Lines that are no events by name, but that operators search for.
PHRASES = {"engine lost", "fetching weights failed", "engine N started"}
SETTINGS = {row.name for row in setting_rows()}
LIMITS = {name for name in SETTINGS if re.match(r"(MAX|ENGINE|MEMORY|QUEUE|REQUEST|SHUTDOWN|WEB)_", name)} - {
    "WEB_PAGE"
}
# What a caller alone can mend.
CALLERS_OWN = {400, 404, 405, 422, 501}


def logged_events() -> set[str]:
    """Return the names with which log calls begin; the circuit breaker puts its user's name in front."""
    users, of_each = re.findall(r'Circuit\("(\w+)"', SOURCE), re.findall(r'log\.\w+\(\s*"%s\.(\w+)', SOURCE)
    named = re.findall(rf'(?<!\.)\blog\.\w+\(\s*"({EVENT})[ "]', SOURCE)
    return {*named, *(f"{user}.{event}" for user in users for event in of_each)}


def documented_events() -> set[str]:
    return {row[0].strip("`") for row in table_below("## Log events", OPERATIONS)}


def examples() -> str:
    return OPERATIONS.split("An example of each:")[1].split("```")[1]


def test_every_event_is_documented_and_no_other() -> None:
    assert "image.received" in logged_events()
    assert documented_events() - PHRASES == logged_events()


def test_phrases_are_logged() -> None:
    assert PHRASES <= documented_events()
    assert all(f'"{phrase.replace("N", "%d")}' in SOURCE for phrase in PHRASES)


def test_every_event_has_a_real_example() -> None:
    lines = examples().strip().splitlines()
    assert {name for name in logged_events() if f" {name}" not in examples()} == set()
    assert [line for line in lines if not re.match(r"[\d-]{10} [\d:,]{12} [A-Z]+ \[\d+\] app\.", line)] == []


@pytest.mark.parametrize("name", sorted(LIMITS))
def test_every_limit_is_explained(name: str) -> None:
    rows = [line for line in OPERATIONS.splitlines() if line.startswith(f"| `{name}` |")]
    assert [all(map(str.strip, row.strip("|").split("|"))) and row.count("|") == 6 for row in rows] == [True]


@pytest.mark.parametrize(
    "code", sorted(code for code, error in error_codes().items() if error.status not in CALLERS_OWN)
)
def test_every_error_that_an_operator_can_mend_has_a_remedy(code: str) -> None:
    assert f"| {error_codes()[code].status} `{code}`" in TROUBLESHOOTING


@pytest.mark.parametrize("text", [OPERATIONS, TROUBLESHOOTING], ids=["operations", "troubleshooting"])
def test_no_setting_and_no_code_is_invented(text: str) -> None:
    names = set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", text))
    known = SETTINGS | set(error_codes()) | {"RLIMIT_DATA"}
    assert {name for name in names if name not in known and name != "REMBG_HOME"} == set()


def test_codes_stand_with_their_status() -> None:
    for status, code in re.findall(r"\b(\d{3}) `([A-Z_]+)`", OPERATIONS + TROUBLESHOOTING):
        assert error_codes()[code].status == int(status)


def test_the_soak_table_has_its_place() -> None:
    assert "## Soak test" in OPERATIONS
