"""A client generated from /openapi.json by openapi-python-client, in every dialect."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from app.imaging.formats import ACCEPTED_FORMATS
from tests.support.clients import KEY
from tests.support.photos import jpeg, opened
from tests.support.service import Service

pytestmark = pytest.mark.integration

SCRIPT = Path(__file__).with_name("call_generated.py")
# The generator supports only JSON and this type; it also fits pictures, which are files.
PICTURES = (*(f"image/{name.lower()}" for name in ACCEPTED_FORMATS), "application/zip")
CONFIG = {"content_type_overrides": dict.fromkeys(PICTURES, "application/octet-stream"), "post_hooks": []}


@pytest.fixture(scope="module")
def client(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the package `generated`."""
    folder = tmp_path_factory.mktemp("client")
    folder.joinpath("openapi.json").write_bytes(service.request("/openapi.json").body)
    folder.joinpath("config.json").write_text(json.dumps(CONFIG))
    command = [str(Path(sys.executable).with_name("openapi-python-client")), "generate", "--meta", "none"]
    command += ["--path", "openapi.json", "--config", "config.json", "--output-path", "generated", "--fail-on-warning"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def results(service: Service, client: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return the result of each call of the script: status, type, content."""
    photo = tmp_path_factory.mktemp("photo") / "photo.jpg"
    photo.write_bytes(jpeg())
    command = [sys.executable, str(SCRIPT), f"http://127.0.0.1:{service.port}", KEY, str(photo)]
    done = subprocess.run(
        command, env=direct() | {"PYTHONPATH": str(client)}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def direct() -> dict[str, str]:
    """Return the environment without proxies, which the client would use even for loopback."""
    return {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}


def picture(result: Any) -> Image.Image:
    status, kind, content = result
    assert (status, kind) == (200, "File")
    return opened(base64.b64decode(content))


def test_a_form_with_parameters(results: Any) -> None:
    answer = picture(results["multipart"])
    assert (answer.format, answer.mode) == ("WEBP", "RGBA")
    assert answer.size < (512, 512), "cropped"
    assert answer.getchannel("A").getextrema() == (0, 255)


def test_a_raw_body_with_a_query(results: Any) -> None:
    assert picture(results["raw"]).size == (200, 200)


def test_base64_in_a_form(results: Any) -> None:
    assert picture(results["form"]).size == (512, 512)


def test_json_both_ways(results: Any) -> None:
    status, kind, content = results["json"]
    assert (status, kind, content["success"], content["model"]) == (200, "EncodedImage", True, "lite")
    assert opened(base64.b64decode(content["image"])).size == (300, 300)


def test_an_error_has_its_type(results: Any) -> None:
    status, kind, content = results["wrong"]
    assert (status, kind, content["code"]) == (400, "Error", "INVALID_BASE64")


def test_the_dialect_of_rembg(results: Any) -> None:
    assert picture(results["rembg"]).mode == "L"


def test_the_dialect_of_removebg(results: Any) -> None:
    assert picture(results["removebg"]).mode == "RGB"
    assert results["account"][:2] == [200, "RemoveBgAccount"]


def test_the_state_of_the_service(results: Any) -> None:
    assert (results["health"][1], results["health"][2]["status"]) == ("Health", "healthy")
