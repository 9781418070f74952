"""Free space of the fullest disk."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from app.observability.disk import DiskSpace, least_space
from app.settings import Settings


@pytest.mark.parametrize(
    ("free", "level"), [(100, "OK"), (10, "OK"), (9, "WARNING"), (5, "WARNING"), (4, "CRITICAL"), (0, "CRITICAL")]
)
def test_levels(free: int, level: str) -> None:
    assert DiskSpace(free, 100).level == level


def test_a_file_system_without_a_size_is_not_full() -> None:
    assert DiskSpace(0, 0).level == "OK"


def test_a_missing_folder_counts_as_the_one_above_it(tmp_path: Path) -> None:
    space = least_space([tmp_path / "a/b"])
    assert space is not None and 0 < space.total <= shutil.disk_usage(tmp_path).total


def test_the_fullest_disk_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Usage:
        def __init__(self, folder: Path) -> None:
            self.free = 3 if folder.name == "logs" else 60
            self.used = 97 if folder.name == "logs" else 40

    monkeypatch.setattr(shutil, "disk_usage", Usage)
    assert least_space([tmp_path / "outputs", tmp_path / "logs"]) == DiskSpace(3, 100)


def test_a_folder_that_cannot_be_read_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert least_space([tmp_path / "file/deeper"]) is None
    assert least_space([]) is None


def test_results_and_logs_are_written() -> None:
    settings = Settings(output_dir=Path("out"), log_file=Path("logs/service.log"))
    assert settings.written_folders == (Path("out"), settings.jobs_dir, Path("logs"))
    assert Settings(output_dir=Path("out"), jobs_backend="off").written_folders == (Path("out"),)
