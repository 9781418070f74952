"""docs/cli.md: all options and codes of the command."""

from __future__ import annotations

import re

import click

from app.cli.main import main
from app.cli.remove.command import remove
from app.errors import error_codes
from app.options.parameters import PARAMETERS
from tests.support.configuration import ROOT
from tests.support.documentation import table_below

CLI = (ROOT / "docs/cli.md").read_text(encoding="utf-8")


def test_every_option_is_documented() -> None:
    documented = [(row[0], " | ".join(row[1:])) for row in table_below("## Options", CLI)]
    context = click.Context(remove, parent=click.Context(main, **main.context_settings))
    options = [option for option in remove.get_params(context) if isinstance(option, click.Option)]
    assert documented == [
        (", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts)), option.help) for option in options
    ]


def test_every_parameter_is_an_option() -> None:
    names = {option.name for option in remove.params}
    assert set(PARAMETERS) - names == {"on_error", "save"}


def test_every_code_is_documented() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "app/cli/remove").glob("*.py"))
    own = set(re.findall(r'Failure\("([A-Z_]+)"', source))
    assert {row[0].strip("`") for row in table_below("| code", CLI)} == own
    assert own & set(error_codes()) <= {"NOT_FOUND"}
