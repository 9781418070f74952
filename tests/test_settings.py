"""Settings: defaults, parsing, and one error for all invalid values."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from app.settings import Settings, SettingsError, load_settings
from tests.support.loaded_modules import modules_after
from tools.settings_table import setting_rows

ALL_BAD = {
    "PORT": "99999",
    "MODEL_NAME": "nothing",
    "MODELS_ALLOWED": "lite,sam",
    "ENGINE_THREADS": "0",
    "REQUEST_TIMEOUT": "-1",
    "QUEUE_SIZE": "many",
    "LOG_LEVEL": "loud",
    "MAX_DIMENSION": "1",
}


def test_defaults_need_no_environment() -> None:
    settings = load_settings(env_file=None)
    assert (settings.host, settings.port, settings.model_name) == ("0.0.0.0", 5001, "auto")


def test_the_environment_overrides_the_env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env = tmp_path / ".env"
    env.write_text("PORT=7001\nQUEUE_SIZE=3\n")
    monkeypatch.setenv("PORT", "7002")
    settings = load_settings(env)
    assert (settings.port, settings.queue_size) == (7002, 3)


@pytest.mark.parametrize(
    ("environment", "level"),
    [
        ({}, "INFO"),
        ({"DEBUG": "true"}, "DEBUG"),
        ({"DEBUG": "false", "FLASK_ENV": "production"}, "INFO"),
        ({"FLASK_ENV": "development"}, "DEBUG"),
        ({"FLASK_ENV": "staging"}, "INFO"),
        ({"DEBUG": "1", "LOG_LEVEL": "warning"}, "WARNING"),
    ],
)
def test_debug_and_flask_env_change_the_default_log_level(
    environment: dict[str, str], level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert load_settings(env_file=None).log_level == level


@pytest.mark.parametrize(
    ("text", "networks"),
    [
        ("", ["127.0.0.0/8", "::1/128"]),
        ("none", []),
        (" None ", []),
        ("10.0.0.0/8, 2001:db8::/32", ["10.0.0.0/8", "2001:db8::/32"]),
    ],
)
def test_networks_without_limits(text: str, networks: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RATE_LIMIT_EXEMPT", text)
    assert [str(network) for network in load_settings(env_file=None).rate_limit_exempt] == networks


def test_the_allowed_values_of_a_setting() -> None:
    allowed = {row.name: row.allowed for row in setting_rows()}
    names = ("PORT", "ENGINE_MEMORY_MB", "REQUEST_TIMEOUT", "LOG_FORMAT", "ALLOW_URL_FETCH", "HOST")
    assert [allowed[name] for name in names] == [
        "1 to 65535",
        "64 or more",
        "over 0 to 3600",
        "text, json",
        "true, false",
        "",
    ]


def test_an_empty_value_means_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "")
    assert load_settings(env_file=None).port == 5001


def test_a_removed_setting_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env = tmp_path / ".env"
    env.write_text("METRICS_PORT=9001\n")
    monkeypatch.setenv("METRICS_PORT", "none")
    assert load_settings(env).port == 5001


def test_all_invalid_values_are_in_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ALL_BAD.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings(env_file=None)
    assert [name for name in ALL_BAD if f"  {name}=" not in str(caught.value)] == []


@pytest.mark.parametrize("value", [",", " ", " , "])
def test_api_keys_without_a_key_stop_the_start(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEYS", value)
    with pytest.raises(SettingsError, match=r"API_KEYS=\(secret\): .*holds no key"):
        load_settings(env_file=None)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'PORT=1\nAPI_KEYS="sesame\nLOG_LEVEL=INFO\n', r", line 2: is not NAME=value"),
        (b"PORT=1\n=x\n", r", line 2: is not NAME=value"),
        ("API_KEYS=sesame\n".encode("utf-16"), r": is not UTF-8"),
        ("API_KEYS=sesame\n".encode("utf-16-le"), r", line 1: is not NAME=value"),
        ("API_KEYS=schlüssel\n".encode("latin-1"), r": is not UTF-8"),
    ],
)
def test_an_env_file_that_cannot_be_parsed_stops_the_start(content: bytes, reason: str, tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match=r"\ABad settings:\n  .*\.env" + reason) as caught:
        load_settings(file)
    assert "sesame" not in str(caught.value)


def test_an_env_file_that_cannot_be_read_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="Is a directory"):
        load_settings(tmp_path)


def test_an_env_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_bytes("\ufeffPORT=7003\n".encode())
    assert load_settings(file).port == 7003


def test_problems_are_a_list_without_secrets() -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(None, port=0, cache_url="sesame")
    port, cache = caught.value.problems
    assert (port.setting, port.value, port.reason[:5]) == ("PORT", "0", "Input")
    assert (cache.setting, cache.value) == ("CACHE_URL", "(secret)") and "memory://" in cache.reason
    assert str(caught.value) == f"Bad settings:\n  PORT=0: {port.reason}\n  CACHE_URL=(secret): {cache.reason}"


@pytest.mark.parametrize(
    "url", ["redis://h:1/2", "rediss://u:p@h", "unix:///run/redis.sock", "redis+unix:///run/redis"]
)
def test_valid_redis_urls(url: str) -> None:
    assert load_settings(None, rate_limit_storage="redis", redis_url=url).redis_url.get_secret_value() == url


def test_redis_url_is_checked_only_when_in_use() -> None:
    code = "from app.settings import load_settings; load_settings(None, redis_url='http://x')"
    assert "redis" not in modules_after(code)
    with pytest.raises(SettingsError, match=r"REDIS_URL=\(secret\): must be redis://"):
        load_settings(None, rate_limit_storage="redis", redis_url="http://x")


@pytest.mark.parametrize("url", ["file:///mnt/jobs", "s3://bucket", "s3://bucket/a/prefix"])
def test_valid_places_for_the_files_of_jobs(url: str) -> None:
    assert load_settings(None, jobs_backend="celery", jobs_storage=url).jobs_storage == url


@pytest.mark.parametrize("url", ["/mnt/jobs", "file://mnt/jobs", "s3://", "http://bucket"])
def test_an_invalid_place_for_the_files_of_jobs_stops_the_start(url: str) -> None:
    with pytest.raises(SettingsError, match=r"JOBS_STORAGE=.* must be file:///folder or s3://bucket/prefix"):
        load_settings(None, jobs_backend="celery", jobs_storage=url)


def test_celery_needs_a_place_for_files_and_a_redis() -> None:
    with pytest.raises(SettingsError, match="needs JOBS_STORAGE"):
        load_settings(None, jobs_backend="celery")
    with pytest.raises(SettingsError, match=r"must be redis://"):
        load_settings(None, jobs_backend="celery", jobs_storage="s3://bucket", redis_url="http://localhost")


def test_max_pixels_must_not_exceed_max_pixels_hard() -> None:
    with pytest.raises(SettingsError, match="MAX_PIXELS must not exceed MAX_PIXELS_HARD"):
        load_settings(env_file=None, max_pixels=2000, max_pixels_hard=1000)


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        Settings().port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("named", "allowed"),
    [("", ("auto", "lite", "u2netp")), ("u2net", ("auto", "u2net")), (" u2netp , auto ", ("auto", "u2netp"))],
)
def test_default_model_is_always_allowed_and_first(
    named: str, allowed: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELS_ALLOWED", named)
    assert load_settings(env_file=None).allowed_models == allowed


def test_every_setting_has_a_help() -> None:
    assert [row.name for row in setting_rows() if not row.help] == []


@pytest.mark.parametrize("url", ["localhost:6379", "http://localhost", "redis://user:sesame@host:sesame/0"])
def test_an_invalid_redis_url_stops_the_start_without_showing_the_password(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(None, rate_limit_storage="redis", redis_url=url)
    assert "REDIS_URL=(secret): must be redis://" in str(caught.value) and "sesame" not in str(caught.value)


def test_an_unused_redis_url_is_not_checked() -> None:
    assert load_settings(None, redis_url="nowhere").rate_limit_storage == "memory"


def test_redis_may_use_a_unix_socket() -> None:
    load_settings(None, rate_limit_storage="redis", redis_url="redis+unix:///run/redis.sock")
