"""The cache in an application: its header, its metric, its part in /health and in the budget of memory."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from app import capacity
from app.capacity import max_memory_mb, plan_capacity
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


def test_the_header_and_the_metric_say_what_happened(make_client: MakeClient, fake_pool: FakePool) -> None:
    client = make_client(cache_url="memory://")
    answers = [client.post(URL + query, data=jpeg()) for query in ("", "?on_error=original", "?quality=50")]
    assert [answer.headers["X-Cache"] for answer in answers] == ["miss", "hit", "miss"]
    assert answers[1].headers["Server-Timing"].startswith("cache;dur=")
    assert len(fake_pool.requests) == 2
    found = samples(client.get("/metrics").text)
    assert [found[f"cache_requests_total,result={name}"] for name in ("hit", "miss", "error")] == [1, 2, 0]


def test_without_a_cache_there_is_no_header_and_every_photo_is_worked_on(
    fast_client: FlaskClient, fake_pool: FakePool
) -> None:
    answers = [fast_client.post(URL, data=jpeg()) for _ in range(2)]
    assert not any("X-Cache" in answer.headers for answer in answers)
    assert len(fake_pool.requests) == 2


def test_a_hit_is_saved_when_that_is_asked_for(make_client: MakeClient, tmp_path: object) -> None:
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
def test_health_knows_all_that_use_redis(
    limits_up: bool | None, cache_up: bool | None, check: bool | None, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.http.limits.storage_up", lambda: limits_up)
    monkeypatch.setattr("app.cache.results.ResultCache.up", lambda _: cache_up)
    report = (
        build_app(Settings(**NO_LIMITS, cache_url="memory://"), FakePool().attach).test_client().get("/health").json
    )
    assert report is not None and (report["checks"]["redis"], report["status"]) == (check, status)


@pytest.mark.parametrize("url", ["localhost:6379", "memory://x", "redis://u:sesame@h:sesame/0", "redis://h?sesame=1"])
def test_a_bad_address_stops_the_start_and_shows_no_password(url: str) -> None:
    with pytest.raises(SettingsError, match=r"CACHE_URL=\(secret\): must be memory://") as caught:
        load_settings(None, cache_url=url)
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize("url", ["memory://", "redis://h:1/2", "rediss://u:sesame@h", "unix:///run/redis.sock?db=1"])
def test_good_addresses(url: str) -> None:
    settings = load_settings(None, cache_url=url)
    assert settings.cache_in_memory == (url == "memory://")
    assert "sesame" not in repr(settings)


@pytest.mark.parametrize(("url", "more"), [(None, 0), ("redis://h", 0), ("memory://", 2 * 300)])
def test_kept_results_count_for_the_memory_of_each_worker(url: str | None, more: int) -> None:
    plain = Settings(web_concurrency=2, engine_engines=1, engine_memory_mb=500)
    settings = Settings(web_concurrency=2, engine_engines=1, engine_memory_mb=500, cache_url=url, cache_max_mb=300)
    engines = plan_capacity(plain)
    assert max_memory_mb(settings, engines) - max_memory_mb(plain, engines) == more


def test_engines_leave_room_for_kept_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "memory_limit", lambda: 4000 * MEGABYTE)
    monkeypatch.setattr(capacity, "cpu_quota", lambda: 16)
    without = plan_capacity(Settings(memory_profile="standard")).engines
    assert (
        plan_capacity(Settings(memory_profile="standard", cache_url="memory://", cache_max_mb=1200)).engines < without
    )


def test_the_doctor_says_when_it_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (configuration, capacity):
        monkeypatch.setattr(module, "memory_limit", lambda: 600 * MEGABYTE)
    settings = Settings(memory_profile="low", cache_url="memory://")
    finding = check_memory(settings, plan_capacity(settings))
    assert finding.level is Level.WARN
    assert finding.found.startswith("engines, uploads and kept results may take")
    assert finding.advice.startswith("Lower CACHE_MAX_MB, ")
    small = Settings(memory_profile="low", cache_url="memory://", cache_max_mb=32)
    assert check_memory(small, plan_capacity(small)).level is Level.OK
