"""The web page: files, headers, configuration."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from app.engine.models import REGISTRY
from app.http.page.views import MODEL_LABELS
from app.jobs.model import ItemState, JobState
from tests.support.configuration import ROOT

PAGE = ROOT / "app" / "http" / "page"
# Bytes of the page's text files together, as they are transferred.
MAX_TRANSFERRED = 40_000


def assets_of(page: str) -> list[str]:
    return re.findall(r'(?:src|href)="(/assets/[^"]+)"', page)


def config_of(client: FlaskClient) -> Any:
    (text,) = re.findall(r'id="config">(.*?)</script>', client.get("/").text, re.DOTALL)
    return json.loads(text)


def test_the_page_may_load_only_from_this_server_and_is_revalidated(fast_client: FlaskClient) -> None:
    answer = fast_client.get("/")

    assert answer.status_code == 200
    assert answer.mimetype == "text/html"
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "img-src 'self' blob: data:" in policy
    assert "unsafe" not in policy
    assert answer.headers["Cache-Control"] == "no-cache"
    assert fast_client.get("/", headers={"If-None-Match": answer.headers["ETag"]}).status_code == 304


def test_every_file_of_the_page_is_served_for_ever(fast_client: FlaskClient) -> None:
    paths = assets_of(fast_client.get("/").text)
    folder = paths[0].rpartition("/")[0]

    for file in (PAGE / "assets").iterdir():
        answer = fast_client.get(f"{folder}/{file.name}")
        assert answer.status_code == 200
        assert answer.data == file.read_bytes()
        assert "immutable" in answer.headers["Cache-Control"]
    assert {path.rpartition("/")[2] for path in paths} <= {file.name for file in (PAGE / "assets").iterdir()}


def test_modules_are_compressed_for_browsers(fast_client: FlaskClient) -> None:
    path = next(path for path in assets_of(fast_client.get("/").text) if path.endswith("main.js"))

    answer = fast_client.get(path, headers={"Accept-Encoding": "gzip, br"})

    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.mimetype == "text/javascript"
    assert gzip.decompress(answer.data) == (PAGE / "assets" / "main.js").read_bytes()
    assert "Accept-Encoding" in answer.headers["Vary"]


@pytest.mark.parametrize("path", ["/assets/0123456789abcdef/main.js", "/assets/{}/../views.py", "/assets/{}/none.js"])
def test_other_files_are_not_served(fast_client: FlaskClient, path: str) -> None:
    version = assets_of(fast_client.get("/").text)[0].split("/")[2]

    assert fast_client.get(path.format(version)).status_code == 404


def test_the_page_is_small(fast_client: FlaskClient) -> None:
    texts = [path for path in (PAGE / "assets").iterdir() if path.suffix in {".js", ".css", ".svg"}]
    page = gzip.compress(fast_client.get("/").data)

    assert len(page) + sum(len(gzip.compress(path.read_bytes())) for path in texts) < MAX_TRANSFERRED


def test_web_page_false_turns_it_off(make_client: Callable[..., FlaskClient]) -> None:
    assert make_client(web_page=False).get("/").status_code == 404


def test_the_page_knows_models_presets_keys_and_fetching(
    make_client: Callable[..., FlaskClient], tmp_path: Path
) -> None:
    presets = tmp_path / "presets.json"
    presets.write_text('{"<!--<script>": {"format": "WEBP", "quality": 50}}')
    client = make_client(
        model_name="lite", models_allowed="lite,u2net", api_keys="secret", allow_url_fetch=True, presets_file=presets
    )

    config = config_of(client)

    assert config["model"] == "lite"
    assert [model["name"] for model in config["models"]] == ["lite", "u2net"]
    assert config["presets"]["<!--<script>"] == {"format": "WEBP", "quality": "50"}
    assert "<!--" not in client.get("/").text.partition('id="config">')[2]
    assert config["key"] is True
    assert config["urls"] is True
    assert "secret" not in client.get("/").text


def test_every_model_has_a_word() -> None:
    assert set(MODEL_LABELS) == set(REGISTRY)
    assert all(label != name for name, label in MODEL_LABELS.items())


@pytest.mark.parametrize(
    ("backend", "jobs"),
    [("local", {"files": 70, "bytes": 5_000_000, "kept": "24 hours"}), ("off", None)],
    ids=["local", "off"],
)
def test_the_page_knows_the_limits_of_jobs(make_client: Callable[..., FlaskClient], backend: str, jobs: object) -> None:
    client = make_client(jobs_backend=backend, jobs_max_files=70, jobs_max_bytes=5_000_000)

    assert config_of(client)["jobs"] == jobs
    assert ("results of more than 20 at once are kept for 24 hours" in client.get("/").text) == (jobs is not None)


def test_states_have_the_words_of_the_api() -> None:
    words = (PAGE / "assets" / "words.js").read_text()

    for state in {*JobState, *ItemState}:
        assert f'{state}: "{state.capitalize()}"' in words


def test_the_page_needs_no_key(make_client: Callable[..., FlaskClient]) -> None:
    assert make_client(api_keys="secret").get("/").status_code == 200
