"""The systemd units: valid, hardened as documented, and consistent with the settings."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from app.settings import Settings
from tests.support.servers import binary

ROOT = Path(__file__).parent.parent.parent
UNITS = ROOT / "deploy/systemd"
SERVICE = UNITS / "background-remover@.service"
WORKER = UNITS / "background-remover-worker@.service"
DOCUMENTATION = (ROOT / "docs/deployment.md").read_text(encoding="utf-8")
# Name of a running unit.
NAMES = {
    "background-remover@.service": "background-remover@5001.service",
    "background-remover-worker@.service": "background-remover-worker@1.service",
}


def setting(name: str, unit: Path = SERVICE) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", unit.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """Return a folder with the units under their names at run time; their programs need not be installed."""
    for unit in UNITS.iterdir():
        text = re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", unit.read_text(encoding="utf-8"), flags=re.MULTILINE)
        (tmp_path / NAMES.get(unit.name, unit.name)).write_text(text, encoding="utf-8")
    return tmp_path


def analyze(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [binary("systemd-analyze", "systemd"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_systemd_accepts_the_units(installed: Path) -> None:
    done = analyze("verify", "--man=no", *installed.iterdir())
    assert (done.returncode, [line for line in done.stderr.splitlines() if "background-remover" in line]) == (0, [])


@pytest.mark.parametrize(
    "name",
    ["background-remover@5001.service", "background-remover-worker@1.service", "background-remover-cleanup.service"],
)
def test_the_exposure_of_a_unit_is_as_documented(name: str, installed: Path) -> None:
    done = analyze("security", "--offline=yes", "--no-pager", installed / name)
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    template = re.sub(r"@\d+", "@", name)
    quoted = re.search(rf"`{re.escape(template)}` (\d+\.\d)", DOCUMENTATION)
    assert found and quoted, done.stdout + done.stderr
    assert float(found[1]) <= float(quoted[1])


@pytest.mark.parametrize("unit", [SERVICE, WORKER], ids=lambda unit: unit.name)
def test_stop_timeout_is_longer_than_the_grace_period(unit: Path) -> None:
    assert int(setting("TimeoutStopSec", unit)[0]) > Settings.model_fields["shutdown_grace"].default


@pytest.mark.parametrize("unit", [SERVICE, WORKER], ids=lambda unit: unit.name)
def test_the_sandbox_allows_engines_their_work(unit: Path) -> None:
    assert setting("KillMode", unit) == ["mixed"]  # engines end with their worker
    assert setting("OOMPolicy", unit) == ["continue"]  # the end of one engine does not stop the service
    assert setting("MemoryMax", unit) and setting("Restart", unit) == ["always"]
    assert "@resources" not in " ".join(setting("SystemCallFilter", unit))
    assert not setting("ProcSubset", unit) and not setting("MemoryDenyWriteExecute", unit)


@pytest.mark.parametrize(
    "unit", [SERVICE, WORKER, UNITS / "background-remover-cleanup.service"], ids=lambda unit: unit.name
)
def test_a_unit_starts_an_existing_command(unit: Path) -> None:
    (command,) = setting("ExecStart", unit)
    program, *arguments = shlex.split(command)
    assert program.startswith("/opt/background-remover/.venv/bin/")
    assert arguments in (
        ["-m", "app", "serve"],
        ["-m", "app", "cleanup"],
        ["-A", "app.jobs.celery_app", "worker", "-n", "%i@%H"],
    )


def test_clean_up_is_hourly() -> None:
    assert setting("OnCalendar", UNITS / "background-remover-cleanup.timer") == ["hourly"]
    (line,) = [
        line
        for line in (ROOT / "deploy/cron/background-remover").read_text(encoding="utf-8").splitlines()
        if not line.startswith("#")
    ]
    assert re.match(r"\d+ \* \* \* \* background-remover ", line) and "python -m app cleanup" in line
