"""Alerts fire as intended; queries of alerts, dashboard and documentation use existing metrics only."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.observability.metrics import METRICS, PREFIX
from tests.support.configuration import ROOT
from tests.support.deploy_files import run, yaml_of
from tests.support.documentation import METRICS_PAGE, table_below
from tests.support.servers import binary

PROMETHEUS = ROOT / "deploy/prometheus"
DASHBOARD = json.loads((ROOT / "deploy/grafana/dashboards/background-remover.json").read_text(encoding="utf-8"))
# Labels that the monitoring adds to every series.
OF_PROMETHEUS = {"instance", "job", "namespace", "pod"}


def alerts() -> list[dict[str, Any]]:
    return [rule for group in yaml_of("deploy/prometheus/alerts.yml")["groups"] for rule in group["rules"]]


def queries() -> list[tuple[str, str]]:
    """Return (place, PromQL) of every alert, every panel and every row of docs/metrics.md."""
    found = [(rule["alert"], str(rule["expr"])) for rule in alerts()]
    found += [(panel["title"], target["expr"]) for panel in DASHBOARD["panels"] for target in panel["targets"]]
    found += [(row[0], row[4].strip("`")) for row in table_below("| name", METRICS_PAGE)]
    return [(where, query.replace("$__rate_interval", "5m").replace("$instance", ".*")) for where, query in found]


def series() -> dict[str, set[str]]:
    """Return the labels of every series that the service exposes, by its name."""
    found: dict[str, set[str]] = {}
    for metric in METRICS:
        name, labels = PREFIX + metric.name, {*metric.labels, *OF_PROMETHEUS}
        if metric.kind == "histogram":
            found |= {f"{name}_bucket": labels | {"le"}, f"{name}_sum": labels, f"{name}_count": labels}
        else:
            found[name] = labels
    return found | {"up": OF_PROMETHEUS}


def named_labels(query: str) -> set[str]:
    """Return the labels that a query selects or groups by."""
    selected = re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", query)
    grouped = [name for names in re.findall(r"\bby\s*\(([^)]*)\)", query) for name in re.findall(r"\w+", names)]
    return {*selected, *grouped}


@pytest.mark.parametrize(("where", "query"), queries(), ids=lambda text: text[:40])
def test_queries_use_existing_series_and_labels_only(where: str, query: str) -> None:
    names = set(re.findall(rf"\b(?:{PREFIX}\w+|up)\b", query))
    known = series()
    assert names
    assert names - set(known) == set()
    assert named_labels(query) <= set.union(*(known[name] for name in names))


def test_the_dashboard_shows_every_metric() -> None:
    shown = " ".join(target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"])
    assert [metric.name for metric in METRICS if PREFIX + metric.name not in shown] == []


def test_the_dashboards_variable_uses_an_existing_metric() -> None:
    (variable,) = (entry for entry in DASHBOARD["templating"]["list"] if entry["name"] == "instance")
    match = re.fullmatch(r"label_values\((\w+), instance\)", variable["query"]["query"])
    assert match is not None
    assert match[1] in series()


def test_panels_do_not_overlap() -> None:
    cells = [
        (x, y)
        for position in (panel["gridPos"] for panel in DASHBOARD["panels"])
        for x in range(position["x"], position["x"] + position["w"])
        for y in range(position["y"], position["y"] + position["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def test_queries_are_valid_promql(tmp_path: Path) -> None:
    rules = [{"record": f"query:{number}", "expr": query} for number, (_, query) in enumerate(queries())]
    target = tmp_path / "rules.yml"
    target.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}), encoding="utf-8")
    said = run(binary("promtool", "prometheus"), "check", "rules", str(target))
    assert f"{len(rules)} rules found" in said


def test_the_alerts_pass_their_tests() -> None:
    run(binary("promtool", "prometheus"), "test", "rules", "alerts_test.yml", cwd=PROMETHEUS)


def test_every_alert_has_an_action_and_a_test_in_which_it_fires() -> None:
    cases = [case for test in yaml_of("deploy/prometheus/alerts_test.yml")["tests"] for case in test["alert_rule_test"]]
    assert {case["alertname"] for case in cases if case["exp_alerts"]} == {rule["alert"] for rule in alerts()}
    assert all(rule["annotations"]["summary"] and rule["annotations"]["action"] for rule in alerts())


def test_prometheus_reads_its_configuration() -> None:
    run(binary("promtool", "prometheus"), "check", "config", "prometheus.yml", cwd=PROMETHEUS)
