"""Commands of the README and docs/jobs.md, and the batch of docs/api.md, run against a service without limits."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.configuration import ROOT
from tests.support.documentation import API
from tests.support.photos import jpeg, opened
from tests.support.servers import binary
from tests.support.service import Service

pytestmark = pytest.mark.integration

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = [block for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) if "curl" in block]
(BATCH,) = (block for block in re.findall(r"```sh\n(.*?)```", API, re.DOTALL) if "xargs" in block)
JOBS = (ROOT / "docs/jobs.md").read_text(encoding="utf-8")
JOBS_BLOCKS = re.findall(r"```sh\n(.*?)```", JOBS, re.DOTALL)
(CLIENT,) = (block for block in re.findall(r"```python\n(.*?)```", JOBS, re.DOTALL) if "requests" in block)


@pytest.fixture(scope="module")
def service(start: Callable[..., Service]) -> Service:
    return start(ENGINE_PROCESSES=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the photos that the commands name, one of them with a space."""
    (tmp_path / "photos").mkdir()
    for name in ("photo.jpg", "beach.jpg", "photo 2.jpg", "shoe.jpg", "bag.jpg", "photos/a.jpg", "photos/b 2.jpg"):
        (tmp_path / name).write_bytes(jpeg("coffee"))
    return tmp_path


def run(block: str, service: Service, folder: Path) -> subprocess.CompletedProcess[str]:
    binary("curl")
    command = block.replace("localhost:5001", f"127.0.0.1:{service.port}")
    return subprocess.run(
        ["sh", "-euc", command], cwd=folder, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True
    )


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.splitlines()[-1][:40])
def test_a_block_of_commands_works(block: str, service: Service, folder: Path) -> None:
    done = run(block, service, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    results = [folder / name for name in re.findall(r"-o (\w+\.\w+)", block)]
    assert [result.name for result in results if result.stat().st_size < 1000] == []


def test_the_batch_has_a_result_for_each_photo(service: Service, folder: Path) -> None:
    run(BATCH, service, folder)
    results = sorted((folder / "results").iterdir())
    names = ["bag.jpg.png", "beach.jpg.png", "photo 2.jpg.png", "photo.jpg.png", "shoe.jpg.png"]
    assert [result.name for result in results] == names
    assert {opened(result.read_bytes()).mode for result in results} == {"RGBA"}


def test_a_failure_of_the_batch_is_visible(service: Service, folder: Path) -> None:
    (folder / "broken.jpg").write_bytes(b"not an image")
    done = run(BATCH, service, folder)
    assert done.returncode == 123 and "415" in done.stderr
    assert "UNSUPPORTED_FORMAT" in (folder / "results/broken.jpg.png").read_text()


@pytest.mark.parametrize("block", JOBS_BLOCKS, ids=lambda block: block.splitlines()[0][:40])
def test_the_commands_of_the_guide_to_jobs_work(block: str, service: Service, folder: Path) -> None:
    done = run(block, service, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    job = json.loads((folder / "job.json").read_text())
    assert job["counts"]["total"] == 2
    if "results.zip" in block:
        assert zipfile.ZipFile(folder / "results.zip").namelist() == ["shoe.webp", "bag.webp", "manifest.json"]
        assert opened((folder / "shoe.webp").read_bytes()).format == "WEBP"


def test_the_client_of_the_guide_to_jobs_works(service: Service, folder: Path) -> None:
    program = CLIENT.replace("localhost:5001", f"127.0.0.1:{service.port}")
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"a\.jpg /jobs/\w+/items/1\nb 2\.jpg /jobs/\w+/items/2\n", done.stdout)
