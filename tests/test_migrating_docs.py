"""Documentation of the other services' dialects, compared with the code."""

from __future__ import annotations

import re

import pytest

from app.http.rembg import SUPPORT
from app.http.removebg.errors import BACKGROUND_CODES, CODES
from app.http.removebg.parameters import PARAMETERS
from tests.support.configuration import ROOT
from tests.support.documentation import API, table_below

MIGRATING = (ROOT / "docs/migrating.md").read_text(encoding="utf-8")


def test_every_parameter_of_removebg_is_documented_as_it_is() -> None:
    documented = {row[0].strip("`"): row[1:] for row in table_below("## remove.bg's dialect")}
    expected = {name: [each.allowed, each.default, each.help] for name, each in PARAMETERS.items()}
    assert documented == expected


def test_every_code_that_removebg_calls_otherwise_is_documented() -> None:
    rows = table_below("### Errors of remove.bg's dialect")
    assert {row[0].strip("`"): (int(row[1]), row[2].strip("`")) for row in rows} == CODES


def test_every_code_of_a_bad_value_is_documented() -> None:
    section = API[API.index("### Errors of remove.bg's dialect") : API.index("| native code")]
    codes = {each.error for each in PARAMETERS.values() if not each.error.endswith("_url")} | {
        *BACKGROUND_CODES.values()
    }
    assert codes <= set(re.findall(r"`(\w+)`", section))


SUPPORTED = {
    "From remove.bg": {name: each.support for name, each in PARAMETERS.items()},
    "From rembg's server": SUPPORT,
}


def section_from(service: str) -> str:
    """Return the part of the page for those who come from a service."""
    return MIGRATING[MIGRATING.index(f"## {service}\n") :].split("\n## ", 1)[0]


@pytest.mark.parametrize("service", SUPPORTED)
def test_the_table_of_parameters_is_complete(service: str) -> None:
    rows = table_below("| parameter", section_from(service))
    assert {row[0].strip("`"): row[1] for row in rows} == SUPPORTED[service]


@pytest.mark.parametrize("service", SUPPORTED)
def test_what_is_not_the_same_is_explained(service: str) -> None:
    rows = table_below("| parameter", section_from(service))
    assert [row[0] for row in rows if row[1] in {"partly", "refused"} and not row[2]] == []


@pytest.mark.parametrize("service", SUPPORTED)
@pytest.mark.parametrize("client", ["curl", "Python", "Node", "PHP", "browser"])
def test_every_client_has_its_one_line(client: str, service: str) -> None:
    assert re.search(rf"^[^\n`]*{client}[^\n`]*.*?```diff\n", section_from(service), re.MULTILINE | re.DOTALL)
