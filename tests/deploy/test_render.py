"""The blueprint for the free tier: its fields, and its memory budget of 512 MB.

The platform's own schema is on no package registry, so the fields are compared with those of its reference.
"""

from __future__ import annotations

from typing import Any

import pytest

from app import capacity
from app.engine.container import MEGABYTE
from app.settings import Settings
from tests.support.configuration import ROOT
from tests.support.deploy_files import yaml_of

# https://render.com/docs/blueprint-spec: the used fields of a web service with a Dockerfile.
FIELDS = {"type", "name", "runtime", "plan", "dockerfilePath", "dockerContext", "healthCheckPath", "envVars"}
STOP_SECONDS = 30  # default grace period of the platform
FREE_MB = 512

(SERVICE,) = yaml_of("deploy/render.yaml")["services"]


def settings() -> Settings:
    values: dict[str, Any] = {entry["key"].lower(): entry["value"] for entry in SERVICE["envVars"] if "value" in entry}
    return Settings(**values)


def test_it_has_the_fields_of_the_reference() -> None:
    assert set(yaml_of("deploy/render.yaml")) == {"services"}
    assert set(SERVICE) == FIELDS
    assert (SERVICE["type"], SERVICE["runtime"], SERVICE["plan"]) == ("web", "docker", "free")
    assert all(set(entry) in ({"key", "value"}, {"key", "sync"}) for entry in SERVICE["envVars"])
    assert all(isinstance(entry.get("value", ""), str) for entry in SERVICE["envVars"])


def test_settings_exist_and_include_no_secret() -> None:
    assert {entry["key"] for entry in SERVICE["envVars"]} <= {name.upper() for name in Settings.model_fields}
    assert [entry["sync"] for entry in SERVICE["envVars"] if entry["key"] == "API_KEYS"] == [False]


def test_it_builds_from_the_dockerfile() -> None:
    assert (ROOT / SERVICE["dockerContext"] / SERVICE["dockerfilePath"]).is_file()


def test_it_stops_in_time() -> None:
    assert settings().shutdown_grace < STOP_SECONDS


@pytest.mark.parametrize("machine_mb", [512, 64 * 1024])
def test_it_fits_with_every_limit_that_the_platform_shows(machine_mb: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "memory_limit", lambda: machine_mb * MEGABYTE)
    chosen = capacity.plan_capacity(settings())
    uploads = settings().max_concurrent_uploads * settings().max_content_length * capacity.BODY_COPIES / MEGABYTE
    assert chosen.engines == 1
    assert chosen.config.memory_mb + uploads + capacity.WEB_MB <= FREE_MB
