"""What the documentation says of other services' dialects is what the code does."""

from __future__ import annotations

import re

import pytest

from app.http.removebg.errors import CODES, OF_BACKGROUND
from app.http.removebg.parameters import PARAMETERS
from tests.test_docs import API, ROOT, table_below

MIGRATING = (ROOT / "docs/migrating.md").read_text(encoding="utf-8")


def test_every_parameter_of_removebg_is_documented_as_it_is() -> None:
    documented = {row[0].strip("`"): row[1:] for row in table_below("## remove.bg's dialect")}
    expected = {name: [each.allowed, each.default, each.help] for name, each in PARAMETERS.items()}
    assert documented == expected


def test_every_code_that_removebg_calls_otherwise_is_documented() -> None:
    rows = table_below("### Its errors")
    assert {row[0].strip("`"): (int(row[1]), row[2].strip("`")) for row in rows} == CODES


def test_every_code_of_a_bad_value_is_documented() -> None:
    section = API[API.index("### Its errors") : API.index("| native code")]
    codes = {each.error for each in PARAMETERS.values() if not each.error.endswith("_url")} | {*OF_BACKGROUND.values()}
    assert codes <= set(re.findall(r"`(\w+)`", section))


def test_the_table_for_those_who_come_from_removebg_is_complete() -> None:
    rows = table_below("| parameter", MIGRATING[MIGRATING.index("## From remove.bg") :])
    assert {row[0].strip("`"): row[1] for row in rows} == {name: each.support for name, each in PARAMETERS.items()}


def test_what_is_not_the_same_is_explained() -> None:
    rows = table_below("| parameter", MIGRATING[MIGRATING.index("## From remove.bg") :])
    assert [row[0] for row in rows if row[1] == "partly" and not row[2]] == []


@pytest.mark.parametrize("client", ["curl", "Python", "Node", "PHP", "browser"])
def test_every_client_has_its_one_line(client: str) -> None:
    section = MIGRATING[MIGRATING.index("## From remove.bg") :]
    assert re.search(rf"^[^\n`]*{client}[^\n`]*.*?```diff\n", section, re.MULTILINE | re.DOTALL)


def test_the_hook_for_node_is_the_one_that_is_tested() -> None:
    tested = (ROOT / "tests/compat/to_this_server.js").read_text(encoding="utf-8")
    tested = tested.replace('"127.0.0.1"', '"localhost"').replace("process.env.SERVER_PORT", "5001")
    assert tested[tested.index("const original") :] in MIGRATING
