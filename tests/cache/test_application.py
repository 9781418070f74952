"""The cache in an application: header, metric, /health, CACHE_URL, memory."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from app import capacity
from app.capacity import plan_capacity
from app.cli.doctor import configuration
from app.cli.doctor.configuration import check_memory
from app.cli.doctor.findings import Level
from app.engine.container import MEGABYTE
from app.http.factory import build_app
from app.settings import Settings, SettingsError, load_settings
from tests.support.configuration import NO_LIMITS
from tests.support.doubles import FakePool
from tests.support.metric_samples import samples
from tests.support.photos import jpeg

URL = "/remove-background"
MakeClient = Callable[..., FlaskClient]


def test_the_header_and_the_metric_report_hits_and_misses(make_client: MakeClient, fake_pool: FakePool) -> None:
    client = make_client(cache_url="memory://")
    answers = [client.post(URL + query, data=jpeg()) for query in ("", "?on_error=original", "?quality=50")]
    assert [answer.headers["X-Cache"] for answer in answers] == ["miss", "hit", "miss"]
    assert answers[1].headers["Server-Timing"].startswith("cache;dur=")
    assert len(fake_pool.requests) == 2
    found = samples(client.get("/metrics").text)
    assert [found[f"cache_requests_total,result={name}"] for name in ("hit", "miss", "error")] == [1, 2, 0]


def test_without_a_cache_there_is_no_header_and_every_photo_is_processed(
    fast_client: FlaskClient, fake_pool: FakePool
) -> None:
    answers = [fast_client.post(URL, data=jpeg()) for _ in range(2)]
    assert not any("X-Cache" in answer.headers for answer in answers)
    assert len(fake_pool.requests) == 2


def test_a_hit_is_saved_on_request(make_client: MakeClient, tmp_path: object) -> None:
    client = make_client(cache_url="memory://", output_dir=tmp_path)
    names = [client.post(URL + "?save=true", data=jpeg()).headers["X-Saved-As"] for _ in range(2)]
    assert len(set(names)) == 2


@pytest.mark.parametrize(
    ("limits_up", "cache_up", "check", "status"),
    [
        (None, None, None, "healthy"),
        (None, True, True, "healthy"),
        (None, False, False, "degraded"),
        (True, None, True, "healthy"),
        (True, False, False, "degraded"),
        (False, True, False, "degraded"),
    ],
)
def test_health_reports_every_user_of_redis(
    limits_up: bool | None, cache_up: bool | None, check: bool | None, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.http.limits.storage_up", lambda: limits_up)
    monkeypatch.setattr("app.cache.results.ResultCache.up", lambda _: cache_up)
    report = (
        build_app(Settings(**NO_LIMITS, cache_url="memory://"), FakePool().attach).test_client().get("/health").json
    )
    assert report is not None and (report["checks"]["redis"], report["status"]) == (check, status)


@pytest.mark.parametrize("url", ["localhost:6379", "memory://x", "redis://u:sesame@h:sesame/0", "redis://h?sesame=1"])
def test_an_invalid_url_stops_the_start_and_shows_no_password(url: str) -> None:
    with pytest.raises(SettingsError, match=r"CACHE_URL=\(secret\): must be memory://") as caught:
        load_settings(None, cache_url=url)
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize("url", ["memory://", "redis://h:1/2", "rediss://u:sesame@h", "unix:///run/redis.sock?db=1"])
def test_a_valid_url_is_accepted_and_shows_no_password(url: str) -> None:
    settings = load_settings(None, cache_url=url)
    assert settings.cache_in_memory == (url == "memory://")
    assert "sesame" not in repr(settings)


def test_the_doctor_warns_when_memory_does_not_suffice(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (configuration, capacity):
        monkeypatch.setattr(module, "memory_limit", lambda: 600 * MEGABYTE)
    settings = Settings(memory_profile="low", cache_url="memory://")
    finding = check_memory(settings, plan_capacity(settings))
    assert finding.level is Level.WARN
    assert finding.found.startswith("engines, uploads and cached results may use")
    assert finding.advice.startswith("Lower CACHE_MAX_MB, ")
    small = Settings(
        memory_profile="low", cache_url="memory://", cache_max_mb=32, model_name="lite", models_allowed=("lite",)
    )
    assert check_memory(small, plan_capacity(small)).level is Level.OK
