"""Saved results, and the sweep that deletes only old results."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient

from app.cli.main import main
from app.settings import Settings
from app.storage import RESULT_NAME, Sweeper, save, sweep, write_problem
from tests.support.photos import jpeg
from tests.support.waiting import wait_until

NAME = "background-removed-" + "0" * 32
OTHER_NAMES = ["photo.jpg", "background-removed-holiday.png", f"{NAME}.txt", f"my-{NAME}.png", f"{NAME}.png.bak", NAME]


def aged(path: Path, hours: float) -> Path:
    path.write_bytes(b"x")
    os.utime(path, (time.time() - hours * 3600,) * 2)
    return path


def test_a_result_is_saved_under_a_generated_name(tmp_path: Path) -> None:
    name = save(b"data", "png", tmp_path / "new")
    assert RESULT_NAME.fullmatch(name)
    assert [(path.name, path.read_bytes()) for path in (tmp_path / "new").iterdir()] == [(name, b"data")]


def test_a_writable_file_has_no_problem(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert [write_problem(tmp_path / name) for name in ("file", "new", "a/b/new")] == ["", "", ""]
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_what_prevents_writing_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    assert [write_problem(tmp_path / name) for name in (".", "file/new")] == ["Is a directory", "Not a directory"]
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    assert [write_problem(tmp_path / name) for name in ("file", "new")] == ["Permission denied"] * 2


def test_a_failure_leaves_no_incomplete_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        save(b"data", "png", tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".avif", ".zip", ".png.part"])
def test_old_results_are_swept(suffix: str, tmp_path: Path) -> None:
    old, young = aged(tmp_path / (NAME + suffix), 25), aged(tmp_path / f"{NAME[:-1]}1{suffix}", 23)
    assert sweep([tmp_path, tmp_path / "missing"], 24 * 3600) == 1
    assert not old.exists() and young.exists()


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_other_files_are_never_swept(name: str, tmp_path: Path) -> None:
    other = aged(tmp_path / name, 1000)
    assert sweep([tmp_path], 3600) == 0 and other.exists()


def test_links_and_folders_with_such_names_are_not_swept(tmp_path: Path) -> None:
    target = aged(tmp_path / "photo.jpg", 1000)
    (tmp_path / f"{NAME}.png").symlink_to(target)
    (tmp_path / f"{NAME}.zip").mkdir()
    sweep([tmp_path], -3600)
    assert target.exists() and (tmp_path / f"{NAME}.png").is_symlink() and (tmp_path / f"{NAME}.zip").is_dir()


def test_the_sweeper_sweeps_at_start(tmp_path: Path) -> None:
    old = aged(tmp_path / f"{NAME}.png", 25)
    sweeper = Sweeper([tmp_path], 24 * 3600)
    sweeper.start()
    wait_until(lambda: not old.exists())
    sweeper.stop()


def test_the_command_sweeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTPUT_DIR", str(tmp_path))
    aged(tmp_path / f"{NAME}.png", 25)
    assert CliRunner().invoke(main, ["cleanup"]).output == f"1 files deleted from {tmp_path}\n"


def test_the_command_sweeps_uploads_on_request_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTPUT_DIR", str(tmp_path / "outputs"))
    monkeypatch.setenv("UPLOAD_DIR", str(tmp_path))
    old, young = aged(tmp_path / "old.jpg", 25), aged(tmp_path / "young.jpg", 23)
    CliRunner().invoke(main, ["cleanup"])
    assert old.exists()
    monkeypatch.setenv("CLEANUP_UPLOADS", "true")
    assert CliRunner().invoke(main, ["cleanup"]).output.startswith("1 files deleted from")
    assert not old.exists() and young.exists()


def test_uploads_are_swept_with_sub_folders_and_without_links_and_hidden_files(tmp_path: Path) -> None:
    outside = aged(tmp_path / "outside.jpg", 25)
    uploads = tmp_path / "uploads"
    (uploads / "shop").mkdir(parents=True)
    old, hidden = aged(uploads / "shop/photo.jpg", 25), aged(uploads / ".gitkeep", 25)
    (uploads / "link.jpg").symlink_to(outside)
    (uploads / "folder").symlink_to(tmp_path)
    assert sweep([], 24 * 3600, [uploads, tmp_path / "missing"]) == 1
    assert not old.exists()
    assert outside.exists() and hidden.exists() and (uploads / "link.jpg").is_symlink() and (uploads / "shop").is_dir()


def test_the_service_sweeps_uploads_on_request_only(tmp_path: Path) -> None:
    folders: dict[str, Any] = {"output_dir": tmp_path / "outputs", "upload_dir": tmp_path}
    for cleanup_uploads, expected in ((False, ()), (True, (tmp_path,))):
        assert Settings(cleanup_uploads=cleanup_uploads, **folders).swept_uploads == expected
    old = aged(tmp_path / "photo.jpg", 25)
    sweeper = Sweeper([], 24 * 3600, Settings(cleanup_uploads=True, **folders).swept_uploads)
    sweeper.start()
    wait_until(lambda: not old.exists())
    sweeper.stop()


def test_the_response_names_the_saved_file(make_client: Callable[..., FlaskClient], tmp_path: Path) -> None:
    response = make_client(output_dir=tmp_path).post("/remove-background?save=true", data=jpeg("coffee"))
    assert (tmp_path / response.headers["X-Saved-As"]).read_bytes() == response.data


def test_nothing_is_saved_without_a_request_for_it(make_client: Callable[..., FlaskClient], tmp_path: Path) -> None:
    response = make_client(output_dir=tmp_path).post("/remove-background", data=jpeg("coffee"))
    assert "X-Saved-As" not in response.headers and list(tmp_path.iterdir()) == []


def test_a_photo_is_processed_even_if_it_cannot_be_saved(
    make_client: Callable[..., FlaskClient], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_bytes(b"")
    client = make_client(output_dir=tmp_path / "file")
    response = client.post("/remove-background?save=true", data=jpeg("coffee"))
    assert (response.status_code, response.headers["X-Ignored-Params"]) == (200, "save")
    assert "image.not_saved" in caplog.text
