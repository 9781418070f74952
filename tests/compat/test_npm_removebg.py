"""npm's remove.bg, unmodified, with a preloaded hook that redirects its requests to the service: every call."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.clients import KEY
from tests.support.photos import jpeg, opened
from tests.support.service import Service

pytestmark = pytest.mark.integration

HERE = Path(__file__).parent
HOOK, SCRIPT = HERE / "to_this_server.js", HERE / "call_npm.js"
Call = Callable[..., dict[str, Any]]


@pytest.fixture
def call(service: Service, npm_client: Path, environment: dict[str, str]) -> Call:
    """Return a function that calls the service through the package, and returns its `result` or its `errors`."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is missing")
    places = {"SERVER_PORT": str(service.port), "NODE_PATH": str(npm_client)}

    def call(function: str, **options: object) -> dict[str, Any]:
        text = json.dumps({"apiKey": KEY} | options)
        done = subprocess.run(
            [node, "--require", str(HOOK), str(SCRIPT), function, text],
            env=environment | places,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)  # type: ignore[no-any-return]

    return call


def size_of(answer: dict[str, Any]) -> tuple[int, int]:
    return opened(base64.b64decode(answer["result"]["base64img"])).size


def test_a_file(call: Call, photo_file: Path, tmp_path: Path) -> None:
    answer = call("removeBackgroundFromImageFile", path=str(photo_file), outputFile=str(tmp_path / "out.png"))
    result = answer["result"]
    picture = opened((tmp_path / "out.png").read_bytes())
    assert (picture.mode, picture.size) == ("RGBA", (500, 500))
    assert (result["resultWidth"], result["resultHeight"]) == ("500", "500")
    assert (result["creditsCharged"], result["detectedType"]) == ("0", "other")


def test_a_file_with_all_options(call: Call, photo_file: Path) -> None:
    answer = call(
        "removeBackgroundFromImageFile",
        path=str(photo_file),
        size="full",
        type="person",
        scale="50%",
        position="0% 100%",
        crop=True,
        crop_margin="10%",
        roi="0% 0% 100% 100%",
        bg_color="white",
        channels="rgba",
        add_shadow=True,
    )
    assert opened(base64.b64decode(answer["result"]["base64img"])).mode == "RGB"


def test_base64(call: Call) -> None:
    assert size_of(call("removeBackgroundFromImageBase64", base64img=base64.b64encode(jpeg("cat")).decode())) == (
        451,
        300,
    )


def test_a_url_and_a_background_by_url(call: Call, picture_url: str) -> None:
    answer = call("removeBackgroundFromImageUrl", url=picture_url, bg_image_url=picture_url, size="auto")
    assert size_of(answer) == (512, 512)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"url": "http://127.0.0.1:1/photo.jpg"}, "invalid_image_url"),
        ({"url": "", "size": "auto"}, "missing_source"),
    ],
)
def test_refused_requests(options: dict[str, str], code: str, call: Call) -> None:
    assert call("removeBackgroundFromImageUrl", **options)["errors"][0]["code"] == code


def test_a_bad_key(call: Call, photo_file: Path) -> None:
    answer = call("removeBackgroundFromImageFile", path=str(photo_file), apiKey="another")
    assert answer["errors"] == [{"title": "API Key invalid", "code": "auth_failed"}]
