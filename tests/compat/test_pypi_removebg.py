"""PyPI's removebg, unmodified except for the address constant: every call."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.support.clients import KEY
from tests.support.photos import jpeg, opened
from tests.support.service import Service

pytestmark = pytest.mark.integration

SCRIPT = Path(__file__).with_name("call_pypi.py")
Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def call(service: Service, pypi_client: Path, environment: dict[str, str], tmp_path: Path) -> Call:
    """Return a function that calls the service through the package, in a separate process and folder."""
    endpoint = f"http://127.0.0.1:{service.port}/v1.0/removebg"

    def call(method: str, *arguments: str, key: str = KEY, **more: str) -> subprocess.CompletedProcess[str]:
        texts = [endpoint, key, method, json.dumps(arguments), json.dumps(more)]
        return subprocess.run(
            [sys.executable, str(SCRIPT), *texts],
            env=environment | {"PYTHONPATH": str(pypi_client)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )

    return call


def test_a_file(call: Call, photo_file: Path) -> None:
    done = call("remove_background_from_img_file", str(photo_file))
    assert done.returncode == 0, done.stderr
    picture = opened(photo_file.with_name("photo.jpg_no_bg.png").read_bytes())
    assert (picture.format, picture.mode, picture.size) == ("PNG", "RGBA", (500, 500))


def test_a_file_in_its_own_size_on_a_colour(call: Call, photo_file: Path) -> None:
    done = call("remove_background_from_img_file", str(photo_file), size="4k", bg_color="81d4fa")
    assert done.returncode == 0, done.stderr
    picture = opened(photo_file.with_name("photo.jpg_no_bg.png").read_bytes())
    assert (picture.mode, picture.size) == ("RGB", (512, 512))
    corner = np.asarray(picture)[:8, 500:].reshape(-1, 3).mean(axis=0)
    assert corner == pytest.approx((0x81, 0xD4, 0xFA), abs=3)  # a JPEG, whatever the package calls it


def test_base64(call: Call, tmp_path: Path) -> None:
    # A small photo, because Linux limits a command-line argument to 128 kB.
    encoded = base64.b64encode(jpeg("cat")).decode()
    done = call("remove_background_from_base64_img", encoded, new_file_name="out.png")
    assert done.returncode == 0, done.stderr
    assert opened((tmp_path / "out.png").read_bytes()).size == (451, 300)


def test_a_url(call: Call, picture_url: str, tmp_path: Path) -> None:
    done = call("remove_background_from_img_url", picture_url, new_file_name="out.png")
    assert done.returncode == 0, done.stderr
    assert opened((tmp_path / "out.png").read_bytes()).size == (500, 500)


def test_a_url_that_is_refused(call: Call) -> None:
    done = call("remove_background_from_img_url", "http://127.0.0.1:1/photo.jpg")
    assert "400 Client Error" in done.stderr


def test_a_bad_key(call: Call, photo_file: Path) -> None:
    done = call("remove_background_from_img_file", str(photo_file), key="another")
    assert "403 Client Error" in done.stderr
