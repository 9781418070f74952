"""Cache keys: every input that changes a result changes its key, and nothing else does."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from app.cache import keys
from app.cache.keys import ResultKeys
from app.engine import weights
from app.engine.messages import EngineConfig
from app.removal import Blur, Canvas, Length, RemovalOptions, RemovalRequest, Trimap
from tests.support.configuration import ENGINE
from tests.support.removals import OPTIONS, REQUEST

# Another value for each option. A new option must be added here, which proves that it changes the key.
OTHER_OPTIONS: dict[str, Any] = {
    "model": "u2netp",
    "longest_side": 1024,
    "format": "WEBP",
    "quality": 60,
    "full_size": True,
    "max_width": 300,
    "max_height": 300,
    "background": (255, 0, 0, 255),
    "backdrop": Blur(3),
    "mask_only": True,
    "crop": True,
    "crop_margin": (Length(0), Length(0), Length(0), Length(1, "%")),
    "portrait": True,
    "refine": "none",
    "require_foreground": True,
    "canvas": Canvas(1_000_000),
    "trimap": Trimap(erode=7),
    "clean_mask": True,
    "smooth_mask": True,
    "keep_colours": True,
    "reference_mask": True,
}
OTHER_CONFIG: dict[str, Any] = {
    "model": "u2netp",
    "threads": 7,
    "threads_alone": 7,
    "providers": ("CUDAExecutionProvider",),
    "fast_under_load": False,
    "max_pixels": 7,
    "max_pixels_hard": 7,
    "memory_mb": 7,
    "memory_warn_mb": 7,
    "max_tasks": 7,
    "rembg_home": "/elsewhere",
    "log_level": "DEBUG",
    "log_format": "json",
    "log_file": "log",
    "faults": True,
}


@pytest.fixture(autouse=True)
def weights_of_two_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("lite", "u2netp"):
        (tmp_path / name).write_text(name)
    monkeypatch.setattr(weights, "find", lambda model, home: tmp_path / model.name)


def key(request: RemovalRequest = REQUEST, config: EngineConfig = ENGINE) -> str:
    found = ResultKeys(config).of(request)
    assert found is not None and len(found) == 64
    return found


def test_the_same_request_has_the_same_key() -> None:
    assert key() == key(replace(REQUEST, image=b"im" + b"age"))


@pytest.mark.parametrize("name", [field.name for field in fields(RemovalOptions)])
def test_every_option_changes_the_key(name: str) -> None:
    other = key(replace(REQUEST, options=replace(OPTIONS, **{name: OTHER_OPTIONS[name]})))
    assert other != key()


@pytest.mark.parametrize("name", [field.name for field in fields(EngineConfig)])
def test_only_engine_settings_that_change_a_result_change_the_key(name: str) -> None:
    other = key(config=replace(ENGINE, **{name: OTHER_CONFIG[name]}))
    assert (other != key()) == (name in {"max_pixels", "max_pixels_hard", "memory_mb", "providers"})


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"request_id": "id-2"}, True),
        ({"image": b"image2"}, False),
        ({"background_image": b""}, False),
        ({"image": b"background", "background_image": b"image"}, False),
        ({"image": b"imageb", "background_image": b"ackground"}, False),
    ],
)
def test_both_images_change_the_key_and_the_request_id_does_not(change: dict[str, Any], same: bool) -> None:
    assert (key(replace(REQUEST, **change)) == key()) is same


def test_the_weights_change_the_key(tmp_path: Path) -> None:
    before = key()
    (tmp_path / "lite").write_text("other weights")
    assert key() != before


def test_weights_are_read_once(tmp_path: Path) -> None:
    result_keys = ResultKeys(ENGINE)
    before = result_keys.of(REQUEST)
    (tmp_path / "lite").write_text("other weights")
    assert result_keys.of(REQUEST) == before


def test_the_version_of_the_service_changes_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = key()
    monkeypatch.setattr(keys, "package_version", lambda: "9.9.9")
    assert key() != before


def test_there_is_no_key_while_weights_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result_keys, found = ResultKeys(ENGINE), list[Path]()
    monkeypatch.setattr(weights, "find", lambda model, home: found[0] if found else None)
    assert result_keys.of(REQUEST) is None
    found.append(tmp_path / "lite")
    assert result_keys.of(REQUEST) == key()


def test_unreadable_weights_have_no_key(tmp_path: Path) -> None:
    (tmp_path / "lite").unlink()
    assert ResultKeys(ENGINE).of(REQUEST) is None


def test_a_cascade_depends_on_the_weights_of_all_members(tmp_path: Path) -> None:
    request = replace(REQUEST, options=replace(OPTIONS, model="auto"))
    before = key(request)
    (tmp_path / "u2netp").write_text("other weights")
    assert before != key(request) and before != key()
