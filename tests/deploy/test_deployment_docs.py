"""The commands of docs/deployment.md, in a fresh clone, in their order.

Programs that need a network, a cluster or a whole machine are replaced by scripts that check what they are given; all
others, deploy/install.sh included, are real.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from app.settings import load_settings
from tests.support.configuration import ROOT
from tests.support.servers import binary

pytestmark = pytest.mark.integration

BLOCKS = re.findall(r"```sh\n(.*?)```", (ROOT / "docs/deployment.md").read_text(encoding="utf-8"), re.DOTALL)
STUBS = {
    "docker": """case "$1 $2" in
    "build "*) test -f Dockerfile ;;
    "compose up") test -f docker-compose.yml ;;
    "run "*) case "$*" in *certbot*)
        mkdir -p deploy/letsencrypt/live/photos.example
        touch deploy/letsencrypt/live/photos.example/fullchain.pem deploy/letsencrypt/live/photos.example/privkey.pem
    esac ;;
    "push "*) ;;
    *) exit 1 ;;
    esac""",
    "kubectl": """case "$*" in
    "apply -k "*) test -f "$3/kustomization.yaml" ;;
    *"apply -f -") cat > rule.yaml ;;
    *"rollout status deployment/background-remover" | *"create secret generic secrets "*) ;;
    *) exit 1 ;;
    esac""",
    "curl": """case "$*" in *--fail-with-body*"file=@photo.jpg"*"-o out.png") ;; *) exit 1 ;; esac""",
    # Programs that would change this machine are not run.
    "sudo": """case "$1" in
    apt-get | certbot | ln | systemctl) ;;
    *) "$@" ;;
    esac""",
}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the files of the repository alone."""
    folder = tmp_path_factory.mktemp("clone")
    files = subprocess.run([binary("git"), "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in files.stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def done(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, int, str]]:
    """Run all blocks; return each with its exit status and what it wrote to standard error."""
    if os.geteuid() != 0:
        pytest.skip("the commands change owners: only root can run them")
    programs = tmp_path_factory.mktemp("programs")
    for name, script in STUBS.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "DESTDIR": str(clone / "machine"),
        "HOME": str(clone),
    } | {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    results = []
    for block in BLOCKS:
        ran = subprocess.run(["sh", "-euc", block], cwd=clone, env=environment, capture_output=True, text=True)
        results.append((block, ran.returncode, ran.stderr))
    return results


def test_every_command_succeeds(done: list[tuple[str, int, str]]) -> None:
    assert len(done) == len(BLOCKS) > 5
    assert [(block, error) for block, status, error in done if status] == []


def test_the_certificate_is_readable_by_nginx_alone(done: list[tuple[str, int, str]], clone: Path) -> None:
    for name in ("fullchain.pem", "privkey.pem"):
        status = (clone / "deploy/tls" / name).stat()
        assert (status.st_uid, status.st_mode & 0o077) == (101, 0)


def test_the_settings_are_valid_and_compose_uses_tls(done: list[tuple[str, int, str]], clone: Path) -> None:
    assert load_settings(clone / ".env").port == 5001
    assert "\nCOMPOSE_PROFILES=tls\n" in (clone / ".env").read_text()


def test_the_rule_for_the_prometheus_operator_is_complete(done: list[tuple[str, int, str]], clone: Path) -> None:
    rule = yaml.safe_load((clone / "rule.yaml").read_text())
    assert rule["kind"] == "PrometheusRule" and rule["spec"]["groups"][0]["rules"]


def test_the_machine_is_installed(done: list[tuple[str, int, str]], clone: Path) -> None:
    assert (clone / "machine/opt/background-remover/.venv/bin/python").exists()
    assert (clone / "machine/etc/nginx/nginx.conf").read_text().startswith("# Written by install.sh")
