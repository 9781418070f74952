"""docker-compose.yml: schema, hardening, and consistency with settings and other files."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from app import capacity
from app.engine.container import MEGABYTE
from app.settings import Settings
from tests.support.configuration import ROOT
from tests.support.deploy_files import in_mb, in_seconds, redis_configuration, run, venv_program, yaml_of
from tests.support.dockerfile import stages
from tests.support.servers import NginxServer
from tests.support.service import free_port

SERVICES: dict[str, dict[str, Any]] = yaml_of("docker-compose.yml")["services"]
APP = SERVICES["app"]


def settings() -> Settings:
    """Return the application's settings in docker-compose.yml."""
    filled = {name: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value) for name, value in APP["environment"].items()}
    return Settings(**{name.lower(): value for name, value in filled.items() if value})  # type: ignore[arg-type]


def test_it_follows_the_compose_specification() -> None:
    run(venv_program("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", "docker-compose.yml")


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_hardened_and_has_limits(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["cpus"]
    assert service["mem_limit"]
    assert service["pids_limit"]
    assert service["restart"] == "unless-stopped"


def test_only_nginx_is_published() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published.pop("nginx") == ["80:80", "443:443"]
    assert published.pop("http") == ["${HTTP_ADDRESS:-127.0.0.1}:5001:5001"]
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)
    assert {"redis", "redis-jobs", "app", "worker"} & set(published) == set()
    assert SERVICES["redis"]["networks"] == APP["networks"] == ["inside"]
    assert yaml_of("docker-compose.yml")["networks"]["inside"]["internal"] is True


DEPENDENCIES = {"nginx": "app", "http": "app", "app": "redis", "grafana": "prometheus", "worker": "redis-jobs"}


def test_services_start_when_their_dependencies_are_healthy() -> None:
    for name, needed in DEPENDENCIES.items():
        assert SERVICES[name]["depends_on"] == {needed: {"condition": "service_healthy"}}
        assert "healthcheck" in SERVICES[needed]


def test_tls_monitoring_and_workers_are_optional() -> None:
    profiles = {name: service["profiles"] for name, service in SERVICES.items() if "profiles" in service}
    assert profiles == {
        "nginx": ["tls"],
        "prometheus": ["monitoring"],
        "grafana": ["monitoring"],
        "worker": ["jobs"],
        "redis-jobs": ["jobs"],
    }


def test_a_trial_needs_no_file_that_is_missing_in_a_clone() -> None:
    mounts = [mount for name in ("http", "app", "redis") for mount in SERVICES[name]["volumes"]]
    files = [mount.split(":")[0].removeprefix("./") for mount in mounts if mount.startswith((".", "/", "$"))]
    assert sorted(files) == ["deploy/redis.conf", "nginx.conf"]
    assert APP["env_file"] == [{"path": ".env", "required": False}]


def test_images_are_pinned() -> None:
    foreign = [service["image"] for service in SERVICES.values() if service["image"] != APP["image"]]
    assert all(re.search(r":v?\d+\.\d+\.\d+(-alpine)?$", image) for image in foreign)


def test_the_healthcheck_is_that_of_the_image() -> None:
    _, (_, final) = stages()
    assert APP["healthcheck"]["test"] == ["CMD", *final.command("HEALTHCHECK")]


def test_settings_are_valid() -> None:
    assert settings().rate_limit_storage == "redis"
    for name in ("app", "worker"):
        assert set(SERVICES[name]["environment"]) <= {name.upper() for name in Settings.model_fields}


def test_grace_period_is_longer_than_that_of_the_service() -> None:
    for service in (APP, SERVICES["nginx"], SERVICES["http"], SERVICES["worker"]):
        assert in_seconds(service["stop_grace_period"]) > settings().shutdown_grace


def test_memory_limit_matches_the_services_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = in_mb(APP["mem_limit"])
    monkeypatch.setattr(capacity, "memory_limit", lambda: limit * MEGABYTE)
    monkeypatch.setattr(capacity, "cpu_quota", lambda: APP["cpus"])
    chosen = capacity.plan_capacity(settings())
    assert chosen.engines == APP["cpus"]
    uploads = settings().max_concurrent_uploads * settings().max_content_length * capacity.BODY_COPIES / MEGABYTE
    assert chosen.engines * chosen.config.memory_mb + uploads + capacity.WEB_MB <= limit
    assert APP["memswap_limit"] == APP["mem_limit"]


def test_the_memory_alert_matches_these_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    test_memory_limit_matches_the_services_budget(monkeypatch)
    chosen = capacity.plan_capacity(settings())
    (rule,) = (
        rule
        for group in yaml_of("deploy/prometheus/alerts.yml")["groups"]
        for rule in group["rules"]
        if rule["alert"] == "BackgroundRemoverMemory"
    )
    assert f"{capacity.WARN_SHARE} * {chosen.engines} * {chosen.config.memory_mb} * 1024 * 1024" in rule["expr"]


def test_prometheus_may_read_the_metrics_at_its_target() -> None:
    (job,) = yaml_of("deploy/prometheus/prometheus.yml")["scrape_configs"]
    (names,) = job["dns_sd_configs"]
    assert names["port"] == settings().port
    assert set(names["names"]) <= set(SERVICES)


def test_every_mounted_file_exists() -> None:
    mounts = [volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])]
    files = [mount for mount in mounts if mount.startswith("./")]
    assert files
    assert [file for file in files if not (ROOT / file).exists()] == []


def nginx_configuration(name: str) -> str:
    """Return nginx.conf as changed by the command of a container."""
    shell, option, script = SERVICES[name]["command"]
    assert (shell, option) == ("sh", "-c")
    change, start = script.split(" > /tmp/nginx.conf && ")
    assert start == "exec nginx -c /tmp/nginx.conf -g 'daemon off;'"
    return run("sh", "-c", change.replace("/etc/nginx/nginx.conf", "nginx.conf"))


@pytest.mark.parametrize("name", ["nginx", "http"])
def test_nginx_forwards_to_the_application_container(name: str) -> None:
    servers = re.findall(r"^ +server ([^\s;{]+)[^{\n]*;", nginx_configuration(name), re.MULTILINE)
    assert servers == [f"app:{settings().port}"]
    assert "127.0.0.1" not in nginx_configuration(name)


def test_the_trial_answers_plain_http_without_a_certificate(tmp_path: Path) -> None:
    server = NginxServer(tmp_path, free_port(), port := free_port(), (free_port(),))
    text = nginx_configuration("http").replace("server app:5001 ", "server 127.0.0.1:5001 ")
    server.start_with(text.replace("listen 5001 ", "listen 443 ") + "\n# server 127.0.0.1:5002 max_fails\n")
    try:
        with pytest.raises(urllib.error.HTTPError, match="502") as caught:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health")
        with caught.value as answer:
            assert json.loads(answer.read())["code"] == "BAD_GATEWAY"
            assert "Strict-Transport-Security" not in answer.headers
    finally:
        server.stop()


@pytest.mark.parametrize(("name", "policy"), [("redis", "volatile-ttl"), ("redis-jobs", "noeviction")])
def test_redis_accepts_its_configuration(name: str, policy: str) -> None:
    program, file, *options = SERVICES[name]["command"]
    assert f"./deploy/{name}.conf:{file}:ro" in SERVICES[name]["volumes"]
    found = redis_configuration(program, str(ROOT / f"deploy/{name}.conf"), *options)
    assert found["maxmemory-policy"] == policy
    assert int(found["maxmemory"]) * 2 <= in_mb(SERVICES[name]["mem_limit"]) * MEGABYTE


def test_the_state_of_jobs_is_on_a_volume() -> None:
    *_, option, folder = SERVICES["redis-jobs"]["command"]
    assert option == "--dir"
    assert f"redis-jobs:{folder}" in SERVICES["redis-jobs"]["volumes"]
    conf = redis_configuration("redis-server", str(ROOT / "deploy/redis-jobs.conf"))
    assert (conf["appendonly"], conf["appendfsync"]) == ("yes", "everysec")


def test_a_worker_has_the_image_and_the_storage_of_the_application() -> None:
    worker = SERVICES["worker"]
    assert worker["image"] == APP["image"]
    assert worker["environment"]["JOBS_STORAGE"] == APP["environment"]["JOBS_STORAGE"]
    assert set(APP["volumes"]) <= set(worker["volumes"])
    assert worker["command"] == ["celery", "-A", "app.jobs.celery_app", "worker"]
    assert worker["environment"]["REDIS_URL"] == "redis://redis-jobs:6379/0"
    assert {"container_name", "ports"} & set(worker) == set()  # otherwise it could not be scaled
