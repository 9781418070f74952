"""The lines of the Dockerfile, executed without Docker: each stage in an empty folder as the root of its commands.

bubblewrap makes that folder `/` and runs every RUN line and the final CMD in it as user 10001, without capabilities;
only the folders of the operating system and this Python, as /usr/local, come from the machine. The service then runs
with a read-only root, like `docker run --read-only --tmpfs /tmp`. The base image itself is not tested.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil
import pytest

from tests.support.configuration import ROOT
from tests.support.dockerfile import Stage, dockerignore, stages
from tests.support.photos import jpeg, opened
from tests.support.servers import binary
from tests.support.service import Service, free_port
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

_, (BUILD, FINAL) = stages()
USER = FINAL.last("USER").partition(":")[0]
MEMORY = "/tmp"  # noqa: S108  # of the image
OF_THE_MACHINE = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc")


def expand(text: str, environment: dict[str, str]) -> str:
    """Replace ${NAME} as Docker does."""
    for name, value in environment.items():
        text = text.replace(f"${{{name}}}", value)
    return text


@cache
def bubblewrap() -> str:
    """Return the path of bubblewrap; skip if it is missing or not permitted."""
    program = binary("bwrap", "bubblewrap")
    tried = subprocess.run([program, "--unshare-user", "--ro-bind", "/", "/", "true"], capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"bubblewrap can't create namespaces here: {tried.stderr.strip()}")
    return program


def bubble(root: Path, environment: dict[str, str], folder: str, *options: str) -> list[str]:
    """Return the command prefix for `root` as the root folder, for an unprivileged user."""
    command = [bubblewrap(), "--die-with-parent", "--unshare-user", "--unshare-pid", "--unshare-ipc"]
    command += ["--uid", USER, "--gid", USER, "--cap-drop", "ALL", "--clearenv", "--bind", str(root), "/"]
    for path in filter(os.path.exists, OF_THE_MACHINE):
        command += ["--ro-bind", path, path]
    command += ["--ro-bind", sys.base_prefix, "/usr/local", "--proc", "/proc", "--dev", "/dev", "--tmpfs", MEMORY]
    command += ["--setenv", "LD_LIBRARY_PATH", "/usr/local/lib"]  # for the library of this Python
    for name, value in environment.items():
        command += ["--setenv", name, value]
    return [*command, *options, "--chdir", folder]


def registry() -> dict[str, str]:
    """Return the environment by which pip reaches its registry and its cache, as Docker would get it."""
    passed = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy") or "PIP_" in name}
    return passed | {"HOME": MEMORY, "PIP_CACHE_DIR": "/pip-cache"}


def copy(sources: list[str], origin: Path, target: Path, from_stage: bool) -> None:
    """Execute a COPY: files into a folder, or the content of a folder into the target folder."""
    ignored = shutil.ignore_patterns("__pycache__") if not from_stage else None
    for source in sources:
        path = origin / source.lstrip("/")
        if path.is_dir():
            shutil.copytree(path, target, symlinks=True, ignore=ignored, dirs_exist_ok=True)
        else:
            assert from_stage or f"!{source}" in dockerignore()
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)


def perform(
    stage: Stage, root: Path, built: Path, pip_cache: Path, arguments: dict[str, str]
) -> tuple[dict[str, str], str]:
    """Execute the lines of a stage in an empty root; return its environment and working folder."""
    environment, folder = {"PATH": "/usr/local/bin:/usr/bin:/bin"}, "/"
    for instruction, value in stage.steps:
        if instruction == "WORKDIR":
            folder = value
            inside(root, folder).mkdir(parents=True, exist_ok=True)
        elif instruction in {"ENV", "ARG"}:
            line = Stage("", "", [(instruction, value)]).pairs(instruction)
            environment |= {name: expand(text, environment) for name, text in (line | arguments).items()}
        elif instruction == "COPY":
            *sources, target = (word for word in value.split() if not word.startswith("--"))
            from_stage = value.startswith("--from=")
            copy(sources, built if from_stage else ROOT, inside(root, folder, target), from_stage)
        elif instruction == "RUN":
            pip = registry() | environment | {"PIP_NO_CACHE_DIR": "0"}
            command = bubble(root, pip, folder, "--bind", str(pip_cache), "/pip-cache")
            done = subprocess.run([*command, "sh", "-c", value], capture_output=True, text=True, timeout=570)
            assert done.returncode == 0, f"RUN {value}\n{done.stdout}{done.stderr}"
    return environment, folder


def inside(root: Path, *parts: str) -> Path:
    """Return the place of a path of the image, always below its root."""
    return root / str(Path("/", *parts)).lstrip("/")


@dataclass(frozen=True)
class Image:
    """The final stage: files, environment, working folder."""

    root: Path
    environment: dict[str, str]
    folder: str

    def command(self, port: int, *words: str) -> list[str]:
        """Return a command that runs in the image, with a read-only root and /data as a volume."""
        settings = self.environment | {"HOST": "127.0.0.1", "PORT": str(port)}
        return [*bubble(self.root, settings, self.folder, "--tmpfs", "/data", "--remount-ro", "/"), *words]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    build, final = tmp_path_factory.mktemp("build"), tmp_path_factory.mktemp("final")
    pip_cache = Path.home() / ".cache/pip"
    pip_cache.mkdir(parents=True, exist_ok=True)
    perform(BUILD, build, build, pip_cache, {"MODELS": "lite"})
    environment, folder = perform(FINAL, final, build, pip_cache, {})
    return Image(final, environment, folder)


@pytest.fixture(scope="module")
def service(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    port, log = free_port(), tmp_path_factory.mktemp("service") / "log"
    with log.open("wb") as output:
        command = image.command(port, *FINAL.command("CMD"))
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    service = Service(port, log, process)
    wait_until(lambda: service.ready() or process.poll() is not None)
    assert process.poll() is None, log.read_text()
    yield service
    process.kill()  # and with it all processes inside
    process.wait(60)


def master(service: Service) -> psutil.Process:
    """Return gunicorn's master, a descendant of bubblewrap's two processes."""
    (init,) = psutil.Process(service.process.pid).children()
    (master,) = init.children()
    return master


def test_a_photo_is_processed(service: Service) -> None:
    answer = service.request("/remove-background", jpeg())
    assert answer.status == 200, service.log.read_text()
    assert opened(answer.body).mode == "RGBA"
    wait_until(service.healthy)  # every engine has started, not only the first


def test_results_are_saved_in_the_volume(service: Service) -> None:
    name = service.request("/remove-background?save=true", jpeg()).headers["X-Saved-As"]
    assert (Path(f"/proc/{master(service).pid}/root/data/outputs") / name).is_file()


def test_nothing_else_can_be_written_and_nobody_is_root(service: Service, image: Image) -> None:
    script = "id -u; touch /app/x; touch /opt/venv/x; touch /x; touch /tmp/x /dev/shm/x && echo memory"
    done = subprocess.run(image.command(service.port, "sh", "-c", script), capture_output=True, text=True)
    assert done.stdout.split() == [USER, "memory"]
    assert done.stderr.count("Read-only file system") == 3


def test_the_healthcheck_passes(service: Service, image: Image) -> None:
    done = subprocess.run(image.command(service.port, *FINAL.command("HEALTHCHECK")), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_image_has_no_compiler_no_pip_and_no_secret(image: Image) -> None:
    names = {path.name for path in inside(image.root, "opt/venv/lib").glob("python3*/site-packages/*")}
    assert names & {"pip", "setuptools", "numba", "llvmlite", "scipy", "skimage", "pymatting"} == set()
    assert {path.name for path in inside(image.root, "app").iterdir()} - {"__pycache__"} == {
        "app", "gunicorn.conf.py", "requirements.txt", "requirements-rembg.txt", "requirements-gpu.txt",
        "requirements-jobs.txt",
    }  # fmt: skip


def test_it_ends_on_its_stop_signal(service: Service) -> None:
    master(service).send_signal(getattr(signal, FINAL.last("STOPSIGNAL")))
    assert service.process.wait(60) == 0, service.log.read_text()
