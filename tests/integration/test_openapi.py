"""A real service conforms to /openapi.json for all requests of schemathesis."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.configuration import ROOT
from tests.support.service import Service

pytestmark = pytest.mark.integration

EXAMPLES, SEED = 6, 7
# Without checks of accepted and refused requests: a schema can't describe the content of an image, and the
# service accepts more than the schema (unknown names, a bool as yes or 1, a query that the body overrides).
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
)


# Answered with 501, as described, which schemathesis treats as a server error.
UNDONE = "/v1.0/improve"


def test_every_answer_is_described(start: Callable[..., Service], tmp_path: Path) -> None:
    service = start(
        MODEL_NAME="lite",
        MODELS_ALLOWED="lite",
        ENGINE_PROCESSES=1,
        ENGINE_MAX_TASKS=100_000,
        OUTPUT_DIR=tmp_path / "kept",
        UPLOAD_DIR=tmp_path,
    )
    engines = service.engines()
    described = service.request("/openapi.json").json["paths"]
    command = [str(Path(sys.executable).with_name("st")), "run", f"http://127.0.0.1:{service.port}/openapi.json"]
    command += ["--checks", ",".join(CHECKS), "--max-examples", str(EXAMPLES), "--seed", str(SEED), "--no-color"]
    # One worker: in CPython 3.11 `ast.parse` in two threads fails occasionally (SystemError: recursion depth mismatch).
    command += ["--workers", "1"]
    command += ["--exclude-path", UNDONE]
    # On a busy machine an answer takes longer than the default of ten seconds, and the generation of inputs than one.
    command += ["--request-timeout", "60", "--suppress-health-check", "too_slow"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": "tests.support.api_inputs"}
    run = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=900)
    assert run.returncode == 0, run.stdout[-20_000:] + run.stderr
    tested = sum(map(len, described.values())) - 2  # nor does it request the description itself
    assert re.search(rf"Tested: +{tested}\b", run.stdout), run.stdout[-2000:]
    assert "unexpected error" not in service.log.read_text()
    assert service.engines() == engines, "an engine was lost"
    assert service.log.read_text().count("image.succeeded") > len(described), "photos were worked on"
