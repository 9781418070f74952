"""Requests for rembg's server, by curl and by requests, against this one."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
import requests
from PIL import Image

from tests.support.clients import KEY
from tests.support.photos import opened
from tests.support.service import Service

pytestmark = pytest.mark.integration

SIZE = (512, 512)


def address(service: Service) -> str:
    return f"http://127.0.0.1:{service.port}/api/remove"


def post(
    service: Service, photo_file: Path, fields: Mapping[str, object], query: Mapping[str, str] | None = None
) -> requests.Response:
    with photo_file.open("rb") as file, requests.Session() as session:
        session.trust_env = False
        return session.post(
            address(service), files={"file": file}, data=fields, params=query, headers={"X-Api-Key": KEY}, timeout=60
        )


def curl(*arguments: str, environment: dict[str, str], to: Path) -> Image.Image:
    if shutil.which("curl") is None:
        pytest.skip("curl is missing")
    command = ["curl", "--silent", "--fail", "--header", f"X-Api-Key: {KEY}", "--output", str(to), *arguments]
    subprocess.run(command, check=True, timeout=60, env=environment)
    return opened(to.read_bytes())


def test_curl_posts_a_file(service: Service, photo_file: Path, environment: dict[str, str], tmp_path: Path) -> None:
    form = ("--form", f"file=@{photo_file}", address(service))
    picture = curl(*form, environment=environment, to=tmp_path / "out.png")
    assert (picture.format, picture.mode, picture.size) == ("PNG", "RGBA", SIZE)
    assert picture.getchannel("A").getextrema() == (0, 255)


def test_curl_sends_a_url(service: Service, picture_url: str, environment: dict[str, str], tmp_path: Path) -> None:
    query = ("--get", "--data-urlencode", f"url={picture_url}", "--data", "om=true", address(service))
    mask = curl(*query, environment=environment, to=tmp_path / "mask.png")
    assert (mask.format, mask.mode, mask.size) == ("PNG", "L", SIZE)


@pytest.mark.parametrize(
    ("fields", "mode"),
    [
        ({"model": "lite"}, "RGBA"),
        ({"model": "u2netp"}, "RGBA"),
        ({"model": "auto"}, "RGBA"),
        ({"om": "true"}, "L"),
        ({"dc": True, "a": False}, "RGBA"),
        ({"ppm": "1"}, "RGBA"),
        ({"a": "true", "af": 240, "ab": 10, "ae": 10}, "RGBA"),
        ({"a": True, "ae": 5, "ppm": True}, "RGBA"),
    ],
)
def test_requests_posts_fields(fields: dict[str, object], mode: str, service: Service, photo_file: Path) -> None:
    answer = post(service, photo_file, fields)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/png")
    assert (opened(answer.content).mode, opened(answer.content).size) == (mode, SIZE)
    assert ("X-Matting-Scale" in answer.headers) == bool(fields.get("a"))


def test_ppm_gives_no_partial_transparency(service: Service, photo_file: Path) -> None:
    alpha = opened(post(service, photo_file, {"ppm": "true"}).content).getchannel("A")
    assert sum(alpha.histogram()[1:255]) == 0


@pytest.mark.parametrize("where", ["query", "form"])
def test_a_background_colour(where: str, service: Service, photo_file: Path) -> None:
    colour = {"bgc": "255,0,0,255"}
    answer = post(service, photo_file, {}, colour) if where == "query" else post(service, photo_file, colour)
    assert opened(answer.content).convert("RGBA").getpixel((0, 0)) == (255, 0, 0, 255)


def test_colours_are_kept_unless_decontaminated(service: Service, photo_file: Path) -> None:
    kept, cleaned = (opened(post(service, photo_file, {"dc": dc}).content) for dc in ("false", "true"))
    assert kept.getchannel("A").tobytes() == cleaned.getchannel("A").tobytes()
    assert kept.tobytes() != cleaned.tobytes()


def test_errors_have_their_own_status(service: Service, photo_file: Path) -> None:
    for fields in ({"af": "300"}, {"extras": '{"x": 1}'}, {"model": "withoutbg"}):
        assert post(service, photo_file, fields).status_code == 400
