"""Documentation: complete, and equal to the code."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
from flask import Flask

from app.engine.observer import RestartReason
from app.errors import error_codes
from app.http.client_address import FORWARDED
from app.http.cors import EXPOSED_HEADERS
from app.http.security import SECURITY_HEADERS
from app.observability.metrics import METRICS, PREFIX
from app.options.parameters import PARAMETERS
from app.options.presets import BUILT_IN
from tests.support.configuration import ROOT
from tests.support.documentation import API, METRICS_PAGE, table_below
from tools.settings_table import env_sample, setting_rows

SETTINGS = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
# A command in a code block, a diff or a text: options or an address follow; `curl -k` alone is an option's name.
CURL = re.compile(r"\bcurl (?=-(?!k`)|localhost|https?:|')[^\n]*")
WITH_COMMANDS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "deploy/install.sh"]


def test_env_sample_is_the_settings_table() -> None:
    assert (ROOT / ".env.sample").read_text(encoding="utf-8") == env_sample()


def test_every_setting_is_documented() -> None:
    documented = [[row[0].strip("`"), row[1].strip("`"), *row[2:]] for row in table_below("| name", SETTINGS)]
    assert documented == [list(row) for row in setting_rows()]


def test_every_parameter_is_documented() -> None:
    documented = {row[0].strip("`"): row[1:] for row in table_below("## Parameters")}
    assert set(documented) == {*PARAMETERS, "preset", "background_file"}
    for name, parameter in PARAMETERS.items():
        assert documented[name] == [parameter.allowed, parameter.default, parameter.help]


def test_every_preset_is_documented() -> None:
    documented = {row[0].strip("`"): row for row in table_below("| preset")}
    assert set(documented) == set(BUILT_IN)
    for name, preset in BUILT_IN.items():
        bounds = f"{preset['max_width']}×{preset['max_height']}" if "max_width" in preset else ""
        assert documented[name][1:4] == [preset["format"], preset["quality"], bounds]


def test_every_error_is_documented_with_its_status() -> None:
    documented = {row[1].strip("`"): int(row[0]) for row in table_below("## Errors")}
    assert documented == {code: error.status for code, error in error_codes().items()}


def test_every_metric_is_documented() -> None:
    rows = table_below("| name", METRICS_PAGE)
    documented = {row[0].strip("`"): (row[1], re.findall(r"`(\w+)`", row[2]), row[3]) for row in rows}
    assert documented == {PREFIX + metric.name: (metric.kind, list(metric.labels), metric.help) for metric in METRICS}


def test_every_query_uses_its_metric() -> None:
    assert [row[0] for row in table_below("| name", METRICS_PAGE) if row[0].strip("`") not in row[4]] == []


def test_every_restart_reason_is_documented() -> None:
    assert [row[0].strip("`") for row in table_below("| reason", METRICS_PAGE)] == list(RestartReason)


def test_every_route_is_documented(real_app: Flask) -> None:
    documented = {row[0].strip("`") for row in table_below("## Endpoints")}
    methods = ("GET", "POST", "PUT", "DELETE", "PATCH")
    routes = {
        f"{verb} {rule.rule}"
        for rule in real_app.url_map.iter_rules()
        for verb in methods
        if verb in (rule.methods or ())
    }
    assert documented == routes


def test_every_response_header_is_documented_and_exposed() -> None:
    documented = [name for row in table_below("## Response headers") for name in re.findall(r"`([\w-]+)`", row[0])]
    assert sorted(documented) == sorted(EXPOSED_HEADERS)


def test_every_sent_header_is_exposed() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "app").rglob("*.py"))
    named = set(re.findall(r'"(X-[A-Z][\w-]+|Server-Timing|Retry-After|Content-Disposition|Location|ETag)"', source))
    not_for_pages = {"X-Api-Key", "X-Requested-With", "X-Signature", "X-Accel-Buffering"}
    assert named - {*not_for_pages, *FORWARDED, *SECURITY_HEADERS} == set(EXPOSED_HEADERS)


def test_every_security_header_is_documented() -> None:
    documented = dict(re.findall(r"^([A-Z][\w-]+): (.+)$", API, re.MULTILINE))
    assert documented == SECURITY_HEADERS | {"Cross-Origin-Resource-Policy": "same-origin"}


@pytest.mark.parametrize("target", ["setup", "run", "test", "lint", "bench", "clean"])
def test_the_makefile_has_the_documented_targets(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


def test_every_link_between_documents_works() -> None:
    for document in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")):
        for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text(encoding="utf-8")):
            assert (document.parent / link).exists(), f"{document.name}: {link}"


def test_the_changelog_has_this_version() -> None:
    version = (ROOT / "app/VERSION").read_text(encoding="ascii").strip()
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("weights", sorted((ROOT / "app/engine/weights").glob("*.onnx")), ids=lambda path: path.stem)
def test_every_embedded_model_has_a_model_card(weights: Path) -> None:
    card = weights.with_name(f"{weights.stem.removesuffix('-lean')}.md").read_text(encoding="utf-8")
    assert all(word in card for word in ("Input", "Output", "Trained on", "Licence", "Weak"))
    assert hashlib.sha256(weights.read_bytes()).hexdigest() in card


def test_the_picture_of_the_readme_is_small() -> None:
    (picture,) = re.findall(r"!\[[^]]+\]\(([^)]+)\)", README)
    assert 10_000 < (ROOT / picture).stat().st_size < 150_000


def test_the_readme_names_every_package_that_the_tests_install() -> None:
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py")]
    calls = [call for source in sources for call in re.findall(r'\bbinary\("([\w-]+)"(?:, "([\w-]+)")?\)', source)]
    packages = {package or name for name, package in calls} - {"curl", "git"}
    (named,) = re.findall(r"the programs that they need \(([^)]+)\)", README)
    assert {*packages, "nodejs", "npm"} == {name.strip() for name in named.replace("\n", " ").split(",")}


def test_every_curl_line_of_the_readme_fails_visibly() -> None:
    assert [line for line in README.splitlines() if "curl -" in line and "--fail-with-body" not in line] == []


def curl_commands() -> list[tuple[str, str]]:
    return [
        (document.name, command)
        for document in WITH_COMMANDS
        for command in CURL.findall(document.read_text(encoding="utf-8"))
    ]


def test_no_documented_curl_command_writes_an_error_into_a_picture() -> None:
    commands = curl_commands()
    assert len(commands) > 20
    assert [command for command in commands if "--fail-with-body" not in command[1]] == []
