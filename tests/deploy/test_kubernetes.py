"""The Kubernetes files: schemas of the API, and consistency with each other and the settings."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from flask import Flask

from app import capacity
from app.engine.container import MEGABYTE
from app.observability.metrics import METRICS, PREFIX
from app.settings import Settings
from tests.support.configuration import ROOT
from tests.support.deploy_files import check_hardened, documents, in_mb, redis_configuration, run, yaml_of
from tests.support.dockerfile import stages
from tests.support.servers import binary

FOLDER = ROOT / "deploy/kubernetes"
VERSIONS = ("1.30", "1.37")
VALIDATOR = "@kubernetes-models/prometheus-operator@6.0.0"
Resource = dict[str, Any]


def resources(folder: str) -> list[Resource]:
    """Return the resources of a folder, without kustomize's own."""
    files = [path for path in sorted((FOLDER / folder).glob("*.yaml")) if path.name != "adapter-values.yaml"]
    found = [document for path in files for document in documents(path.read_text(encoding="utf-8"))]
    return [resource for resource in found if not resource["apiVersion"].startswith("kustomize")]


def built(folder: str) -> list[Resource]:
    """Return the resources that kustomize builds from a folder."""
    return documents(run(binary("kubectl", "kubernetes-client"), "kustomize", str(FOLDER / folder)))


def the(kind: str, name: str = "background-remover", folder: str = "base") -> Any:
    (found,) = (each for each in resources(folder) if (each["kind"], each["metadata"]["name"]) == (kind, name))
    return found["spec"]


def pod(name: str = "background-remover") -> Any:
    return the("Deployment", name)["template"]["spec"]


def container(name: str = "background-remover") -> Any:
    (only,) = pod(name)["containers"]
    return only


@cache
def settings() -> Settings:
    """Return the settings of the pods."""
    (generated,) = yaml_of("deploy/kubernetes/base/kustomization.yaml")["configMapGenerator"]
    return Settings(**{line.partition("=")[0].lower(): line.partition("=")[2] for line in generated["literals"]})


BUILT_IN = [each for folder in ("base", "https") for each in resources(folder)]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("resource", BUILT_IN, ids=lambda each: f"{each['kind']}-{each['metadata']['name']}")
def test_a_resource_follows_the_schema_of_its_api(resource: Resource, version: str) -> None:
    kubernetes_validate.validate(resource, version, strict=True)


@pytest.mark.parametrize("folder", ["base", "https"])
def test_built_resources_follow_their_schemas(folder: str) -> None:
    found = built(folder)
    for resource in found:
        if resource["kind"] != "ServiceMonitor":
            kubernetes_validate.validate(resource, VERSIONS[-1], strict=True)
    assert {each["metadata"]["namespace"] for each in found if each["kind"] != "Namespace"} == {"background-remover"}
    assert {
        "Deployment",
        "Service",
        "HorizontalPodAutoscaler",
        "PodDisruptionBudget",
        "NetworkPolicy",
        "ConfigMap",
    } <= {each["kind"] for each in found}


@pytest.mark.parametrize("folder", ["base", "monitoring", "https"])
def test_kustomize_includes_every_file_of_a_folder(folder: str) -> None:
    kustomization = yaml_of(f"deploy/kubernetes/{folder}/kustomization.yaml")
    named = {name for name in kustomization["resources"] if name.endswith(".yaml")}
    assert named == {path.name for path in (FOLDER / folder).glob("*.yaml")} - {
        "kustomization.yaml", "adapter-values.yaml"
    }  # fmt: skip


def test_the_servicemonitor_follows_the_operator_s_schema(tmp_path: Path) -> None:
    """The schema is part of the Prometheus Operator, not of Kubernetes; an npm package contains it."""
    run(binary("npm"), "install", "--silent", "--no-audit", "--no-fund", VALIDATOR, cwd=tmp_path)
    (monitor,) = resources("monitoring")
    check = f"""
        import {{ ServiceMonitor }} from "{VALIDATOR.rpartition("@")[0]}/monitoring.coreos.com/v1/ServiceMonitor";
        new ServiceMonitor({json.dumps(monitor)}).validate();
    """
    run(binary("node", "nodejs"), "--input-type=module", "-e", check, cwd=tmp_path)


def test_the_servicemonitor_finds_the_service_s_port() -> None:
    (monitor,) = resources("monitoring")
    service = the("Service")
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["port"] in {port["name"] for port in service["ports"]}
    (labels,) = (
        each["metadata"]["labels"]
        for each in resources("base")
        if (each["kind"], each["metadata"]["name"]) == ("Service", "background-remover")
    )
    assert monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert labels[monitor["spec"]["jobLabel"]] == "background-remover"  # the job that the alerts name


@pytest.mark.parametrize("name", ["background-remover", "redis"])
def test_selectors_match_their_pods(name: str) -> None:
    labels = the("Deployment", name)["template"]["metadata"]["labels"]
    assert the("Deployment", name)["selector"]["matchLabels"].items() <= labels.items()
    assert the("Service", name)["selector"].items() <= labels.items()
    assert the("NetworkPolicy", name)["podSelector"]["matchLabels"].items() <= labels.items()
    ports = {port["name"] for port in container(name)["ports"]}
    assert {port["targetPort"] for port in the("Service", name)["ports"]} <= ports


def test_the_disruption_budget_and_the_autoscaler_select_the_pods() -> None:
    labels = the("Deployment")["template"]["metadata"]["labels"]
    assert the("PodDisruptionBudget")["selector"]["matchLabels"].items() <= labels.items()
    assert the("HorizontalPodAutoscaler")["scaleTargetRef"]["name"] == "background-remover"
    assert the("HorizontalPodAutoscaler")["minReplicas"] > the("PodDisruptionBudget")["maxUnavailable"]
    assert "replicas" not in the("Deployment")


def test_the_autoscaler_s_metric_exists_and_is_served() -> None:
    (metric,) = (entry["pods"] for entry in the("HorizontalPodAutoscaler")["metrics"] if entry["type"] == "Pods")
    assert metric["metric"]["name"] in {PREFIX + each.name for each in METRICS}
    assert int(metric["target"]["averageValue"]) < settings().queue_size
    (rule,) = yaml_of("deploy/kubernetes/monitoring/adapter-values.yaml")["rules"]["custom"]
    assert rule["seriesQuery"].startswith(f"{metric['metric']['name']}{{")


@pytest.mark.parametrize("name", ["background-remover", "redis"])
def test_a_pod_is_hardened_and_has_limits(name: str) -> None:
    check_hardened(pod(name))
    assert set(container(name)["resources"]["requests"]) == {"cpu", "memory"}


def test_the_user_is_that_of_the_image() -> None:
    _, (_, final) = stages()
    context = pod()["securityContext"]
    assert f"{context['runAsUser']}:{context['runAsGroup']}" == final.last("USER")


def test_writable_folders_are_in_memory_except_for_results() -> None:
    volumes = {volume["name"]: volume["emptyDir"] for volume in pod()["volumes"]}
    mounts = {mount["mountPath"]: volumes[mount["name"]] for mount in container()["volumeMounts"]}
    assert {path for path, volume in mounts.items() if volume.get("medium") == "Memory"} == {"/tmp", "/dev/shm"}  # noqa: S108
    assert all(volume["sizeLimit"] for volume in volumes.values())
    _, (_, final) = stages()
    assert {final.pairs("ENV")[name].rpartition("/")[0] for name in ("OUTPUT_DIR", "JOBS_DIR")} == {"/data"}
    assert "/data" in mounts


def test_probes_request_the_right_endpoints() -> None:
    asked = {kind: container()[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")}
    assert asked == {"startup": "/health/live", "liveness": "/health/live", "readiness": "/health/ready"}
    assert container()["livenessProbe"]["failureThreshold"] >= 3
    assert container()["readinessProbe"]["failureThreshold"] >= 3


def test_ports_are_those_of_the_settings() -> None:
    ports = {port["name"]: port["containerPort"] for port in container()["ports"]}
    assert ports == {"http": settings().port}


def test_grace_period_covers_the_stop() -> None:
    pause = container()["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod()["terminationGracePeriodSeconds"] > pause + settings().shutdown_grace


def test_memory_limit_matches_the_services_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = container()["resources"]["limits"]
    monkeypatch.setattr(capacity, "memory_limit", lambda: in_mb(limits["memory"]) * MEGABYTE)
    monkeypatch.setattr(capacity, "cpu_quota", lambda: int(limits["cpu"]))
    assert capacity.plan_capacity(settings()).engines == int(limits["cpu"])


def test_redis_options_match_redis_conf() -> None:
    shipped = redis_configuration("redis-server", str(ROOT / "deploy/redis.conf"))
    here = redis_configuration(*container("redis")["args"])
    different = {name: here[name] for name in shipped if here[name] != shipped[name] and name not in {"port", "dir"}}
    assert different == {"protected-mode": "no"}


def test_the_ingress_routes_every_path_except_metrics(real_app: Flask) -> None:
    (rule,) = the("Ingress", folder="https")["rules"]
    paths = {path["path"]: path["pathType"] for path in rule["http"]["paths"]}
    assert paths.pop("/") == "Exact"  # a prefix of all
    routes = {route.rule for route in real_app.url_map.iter_rules()} - {"/"}
    reached = {route for route in routes for path in paths if f"{route}/".startswith(f"{path}/")}
    assert routes - reached == {"/metrics"}
    assert {path["backend"]["service"]["port"]["name"] for path in rule["http"]["paths"]} == {"http"}
    assert set(paths.values()) == {"Prefix"}


def test_the_documented_command_builds_a_prometheusrule() -> None:
    """The command in docs/deployment.md adds four lines before alerts.yml and indents it by two spaces."""
    page = (ROOT / "docs/deployment.md").read_text(encoding="utf-8")
    command = page[page.index("(printf 'apiVersion: monitoring") :].split(" | kubectl")[0].replace("\\\n", "")
    rule = yaml.safe_load(run("sh", "-c", command))
    assert rule["kind"] == "PrometheusRule"
    assert rule["spec"] == yaml_of("deploy/prometheus/alerts.yml")
