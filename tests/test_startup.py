"""Checks before the start: execution providers, packages of Celery."""

from __future__ import annotations

import pytest

from app.settings import SettingsError
from app.startup import checked_settings


def test_a_provider_that_is_not_installed_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXECUTION_PROVIDERS", "MIGraphXExecutionProvider,cpu")
    with pytest.raises(SettingsError) as caught:
        checked_settings(None)
    (problem,) = caught.value.problems
    assert str(problem).startswith(
        "EXECUTION_PROVIDERS='MIGraphXExecutionProvider,CPUExecutionProvider': MIGraphXExecutionProvider: "
        "not in the installed onnxruntime, which has "
    )


def test_an_unknown_provider_is_a_bad_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXECUTION_PROVIDERS", "gpu")
    with pytest.raises(SettingsError, match="EXECUTION_PROVIDERS='gpu': 'gpu' is not an execution provider"):
        checked_settings(None)


def test_the_cpu_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXECUTION_PROVIDERS", "")
    assert checked_settings(None).execution_providers == ("CPUExecutionProvider",)


def test_celery_without_its_packages_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBS_BACKEND", "celery")
    monkeypatch.setenv("JOBS_STORAGE", "s3://bucket")
    assert checked_settings(None).jobs_backend == "celery"
    monkeypatch.setattr("app.startup.find_spec", lambda _: None)
    with pytest.raises(SettingsError, match=r"needs celery and s3fs: pip install -r requirements-jobs\.txt"):
        checked_settings(None)


def test_other_backends_need_no_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.startup.find_spec", lambda _: None)
    assert checked_settings(None).jobs_backend == "local"
