"""Files for contributors: hooks with the tools of `make lint`, and a workflow and templates that GitHub accepts."""

from __future__ import annotations

import pytest

from tests.support.configuration import ROOT
from tests.support.deploy_files import run, venv_program, yaml_of

WORKFLOW = ".github/workflows/test.yml"
TEMPLATES = sorted(str(path.relative_to(ROOT)) for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"))


def test_hooks_run_the_tools_of_make_lint_in_the_same_versions() -> None:
    hooks = [hook for repository in yaml_of(".pre-commit-config.yaml")["repos"] for hook in repository["hooks"]]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    linters = [line.split()[0:2] for line in makefile.split("\nlint:")[1].split("\n\n")[0].splitlines()[1:]]
    expected = [[tool.replace("$(BIN)", ".venv/bin"), *rest] for tool, *rest in linters]
    assert [hook["entry"].split()[:2] for hook in hooks] == expected
    assert {hook["language"] for hook in hooks} == {"system"}


def test_the_workflow_runs_make_test_with_every_integration_test() -> None:
    job = yaml_of(WORKFLOW)["jobs"]["test"]
    assert {"run": "make test", "env": {"REQUIRE_INTEGRATION": "1"}} in job["steps"]
    assert "3.11" in job["container"]["image"]


@pytest.mark.parametrize("path", [WORKFLOW, *TEMPLATES])
def test_files_for_github_match_their_schemas(path: str) -> None:
    schema = "vendor.github-workflows" if path == WORKFLOW else "vendor.github-issue-forms"
    run(venv_program("check-jsonschema"), "--builtin-schema", schema, path)
