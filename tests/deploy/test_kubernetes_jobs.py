"""The Kubernetes component for jobs: schemas, and consistency with Celery's queue, the settings and the image."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from app import capacity
from app.engine.container import MEGABYTE
from app.jobs.celery_queue import KEY_PREFIX, QUEUE
from app.settings import Settings
from tests.support.configuration import ROOT
from tests.support.deploy_files import check_hardened, documents, in_mb, redis_configuration, run
from tests.support.dockerfile import stages
from tests.support.servers import binary

FOLDER = ROOT / "deploy/kubernetes"
VALIDATOR = "@kubernetes-models/keda@2.0.0"
OVERLAY = """
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: background-remover
resources: [../base]
components: [../jobs]
"""
Resource = dict[str, Any]
RESOURCES = [
    resource
    for path in sorted((FOLDER / "jobs").glob("*.yaml"))
    for resource in documents(path.read_text(encoding="utf-8"))
    if not resource["apiVersion"].startswith("kustomize")
]


def the(kind: str, name: str) -> Any:
    (found,) = (each for each in RESOURCES if (each["kind"], each["metadata"]["name"]) == (kind, name))
    return found["spec"]


def pod(name: str) -> Any:
    return the("Deployment" if name == "worker" else "StatefulSet", name)["template"]["spec"]


def container(name: str) -> Any:
    (only,) = pod(name)["containers"]
    return only


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> list[Resource]:
    """Return what kustomize builds from the base with this component."""
    folder = tmp_path_factory.mktemp("kubernetes")
    shutil.copytree(FOLDER, folder, dirs_exist_ok=True)
    (folder / "overlay").mkdir()
    (folder / "overlay/kustomization.yaml").write_text(OVERLAY)
    return documents(run(binary("kubectl", "kubernetes-client"), "kustomize", str(folder / "overlay")))


@pytest.fixture(scope="module")
def environment(built: list[Resource]) -> dict[str, str]:
    """Return the settings of all pods."""
    (found,) = (each["data"] for each in built if each["kind"] == "ConfigMap")
    return dict(found)


@pytest.mark.parametrize("version", ["1.30", "1.37"])
@pytest.mark.parametrize("resource", RESOURCES, ids=lambda each: f"{each['kind']}-{each['metadata']['name']}")
def test_a_resource_follows_the_schema_of_its_api(resource: Resource, version: str) -> None:
    if resource["kind"] != "ScaledObject":
        kubernetes_validate.validate(resource, version, strict=True)


def test_the_scaler_follows_the_schema_of_keda(tmp_path: Path) -> None:
    """The schema is part of KEDA, not of Kubernetes; an npm package contains it."""
    run(binary("npm"), "install", "--silent", "--no-audit", "--no-fund", VALIDATOR, cwd=tmp_path)
    (scaler,) = (each for each in RESOURCES if each["kind"] == "ScaledObject")
    check = f"""
        import {{ ScaledObject }} from "{VALIDATOR.rpartition("@")[0]}/keda.sh/v1alpha1/ScaledObject";
        new ScaledObject({json.dumps(scaler)}).validate();
    """
    run(binary("node", "nodejs"), "--input-type=module", "-e", check, cwd=tmp_path)


def test_the_scaler_reads_the_length_of_celerys_queue(environment: dict[str, str]) -> None:
    spec = the("ScaledObject", "worker")
    (trigger,) = spec["triggers"]
    assert trigger["type"] == "redis"
    assert trigger["metadata"]["listName"] == KEY_PREFIX + QUEUE
    host, _, port = trigger["metadata"]["address"].partition(":")
    assert environment["REDIS_URL"] == f"redis://{host.removesuffix('.background-remover.svc')}:{port}/0"
    assert spec["scaleTargetRef"]["name"] == "worker"
    assert "replicas" not in the("Deployment", "worker")


def test_the_settings_are_valid_and_replace_those_of_the_base(environment: dict[str, str]) -> None:
    own = {name.lower(): value for name, value in environment.items() if not name.startswith("AWS_")}
    assert set(own) <= set(Settings.model_fields)
    settings = Settings(**own)  # type: ignore[arg-type]
    assert (settings.jobs_backend, settings.rate_limit_storage) == ("celery", "redis")


def test_kustomize_includes_every_file(built: list[Resource]) -> None:
    names = {(each["kind"], each["metadata"]["name"]) for each in built}
    assert {(each["kind"], each["metadata"]["name"]) for each in RESOURCES} <= names
    assert {each["metadata"]["namespace"] for each in built if each["kind"] != "Namespace"} == {"background-remover"}


def test_selectors_match_their_pods() -> None:
    labels = the("Deployment", "worker")["template"]["metadata"]["labels"]
    for selector in (
        the("Deployment", "worker")["selector"],
        the("PodDisruptionBudget", "worker")["selector"],
        the("NetworkPolicy", "worker")["podSelector"],
    ):
        assert selector["matchLabels"].items() <= labels.items()
    redis = the("StatefulSet", "redis-jobs")["template"]["metadata"]["labels"]
    assert the("StatefulSet", "redis-jobs")["selector"]["matchLabels"].items() <= redis.items()
    assert the("Service", "redis-jobs")["selector"].items() <= redis.items()
    assert the("NetworkPolicy", "redis-jobs")["podSelector"]["matchLabels"].items() <= redis.items()


@pytest.mark.parametrize("name", ["worker", "redis-jobs"])
def test_a_pod_is_hardened_and_has_limits(name: str) -> None:
    check_hardened(pod(name))


def test_the_user_of_a_worker_is_that_of_the_image() -> None:
    _, (_, final) = stages()
    context = pod("worker")["securityContext"]
    assert f"{context['runAsUser']}:{context['runAsGroup']}" == final.last("USER")


def test_grace_period_covers_the_stop() -> None:
    assert pod("worker")["terminationGracePeriodSeconds"] > Settings.model_fields["shutdown_grace"].default


def test_a_worker_has_memory_for_an_engine_per_core(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = container("worker")["resources"]["limits"]
    monkeypatch.setattr(capacity, "memory_limit", lambda: in_mb(limits["memory"]) * MEGABYTE)
    monkeypatch.setattr(capacity, "cpu_quota", lambda: int(limits["cpu"]))
    assert capacity.plan_capacity(Settings()).engines == int(limits["cpu"])


def test_redis_options_match_redis_jobs_conf() -> None:
    shipped = redis_configuration("redis-server", str(ROOT / "deploy/redis-jobs.conf"))
    here = redis_configuration(*container("redis-jobs")["args"])
    different = {name: here[name] for name in shipped if here[name] != shipped[name] and name not in {"port", "dir"}}
    assert different == {"protected-mode": "no"}
