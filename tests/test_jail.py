"""Files below a folder, by path. Over HTTP, with swapped files: tests/http/test_files.py."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from app.errors import ForbiddenPath
from app.jail import open_below


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_bytes(b"secret")
    inside = tmp_path / "folder"
    (inside / "a").mkdir(parents=True)
    (inside / "a" / "photo.jpg").write_bytes(b"photo")
    (inside / "link").symlink_to(tmp_path / "secret")
    (inside / "folder-link").symlink_to(inside / "a")
    (inside / "second-name").hardlink_to(tmp_path / "secret")
    os.mkfifo(inside / "fifo")
    return inside


def test_a_file_is_opened(folder: Path) -> None:
    file = open_below(folder, "a/photo.jpg")
    assert file is not None
    with file:
        assert file.read() == b"photo"


def test_the_folder_itself_may_be_a_link(folder: Path) -> None:
    file = open_below(folder / "folder-link", "photo.jpg")
    assert file is not None
    file.close()


@pytest.mark.parametrize("path", ["photo.jpg", "a/missing", "missing/photo.jpg"])
def test_a_missing_file_is_none(path: str, folder: Path) -> None:
    assert open_below(folder, path) is None


def test_a_missing_folder_is_none(folder: Path) -> None:
    assert open_below(folder / "missing", "photo.jpg") is None


@pytest.mark.parametrize(
    "path",
    [
        "link",
        "folder-link/photo.jpg",
        "second-name",
        "fifo",
        "a",
        "a/photo.jpg/more",
    ],
)
def test_only_regular_files_without_links_are_opened(path: str, folder: Path) -> None:
    with pytest.raises(ForbiddenPath):
        open_below(folder, path)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/passwd",
        "../secret",
        "a/../a/photo.jpg",
        "./a/photo.jpg",
        "a//photo.jpg",
        "a/",
        ".hidden",
        "~root",
        "a\\photo.jpg",
        "C:photo.jpg",
        "a/photo.jpg\0",
        "%2e%2e/secret",
        "a%2Fphoto.jpg",
        "a\uff0fphoto.jpg",
        "\uff0e\uff0e/secret",
        "\udcff",
        "a" * 256,
        "a/" * 2048 + "a",
    ],
)
def test_a_suspicious_path_is_forbidden(path: str, folder: Path) -> None:
    with pytest.raises(ForbiddenPath):
        open_below(folder, path)
