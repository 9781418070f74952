"""Search for photos and names of outputs."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.cli.remove.outcomes import Failure, printable
from app.cli.remove.photos import Search, output_bases


@pytest.mark.parametrize(
    ("names", "bases"),
    [
        (["a.jpg", "b.jpg"], ["a", "b"]),
        (["a.jpg", "a.png", "b.jpg"], ["a.jpg", "a.png", "b"]),
        (["a.jpg", "A.png"], ["a.jpg", "A.png"]),
        (["a.jpg", "a.png", "a.jpg.webp"], ["a.jpg", "a.png", "a.jpg.webp"]),
    ],
)
def test_outputs_of_a_folder_have_different_names(names: list[str], bases: list[str]) -> None:
    assert list(output_bases(names).values()) == bases


def searched(*inputs: Path, output: Path | None = None) -> tuple[list[str], list[tuple[str, str]]]:
    problems = list[tuple[str, str]]()

    def note(path: Path, failure: Failure) -> None:
        problems.append((path.name, failure.code))

    found = [str(found.base) for found in Search(inputs, output, True, note).found()]
    return found, problems


def test_a_loop_of_links_is_a_problem_and_not_endless(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/a.jpg").touch()
    (tmp_path / "sub/up").symlink_to(tmp_path)
    (tmp_path / "self.jpg").symlink_to("self.jpg")
    assert searched(tmp_path, output=tmp_path / "out") == (["self", "sub/a"], [("up", "LINK_LOOP")])


def test_an_unreadable_folder_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.jpg").touch()

    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("app.cli.remove.photos.os.scandir", refuse)
    assert searched(tmp_path, output=tmp_path / "out") == ([], [(tmp_path.name, "FOLDER_UNREADABLE")])


def test_hidden_files_and_other_endings_are_left_out(tmp_path: Path) -> None:
    for name in ("a.JPG", ".b.jpg", "notes.txt", "c.heic"):
        (tmp_path / name).touch()
    assert searched(tmp_path, output=tmp_path / "out") == (["a", "c"], [])


def test_files_that_are_named_have_any_ending(tmp_path: Path) -> None:
    (tmp_path / "upload").touch()
    assert searched(tmp_path / "upload", tmp_path / "none", output=tmp_path / "out") == (
        ["upload"],
        [("none", "NOT_FOUND")],
    )


def test_a_path_is_printed_as_one_line() -> None:
    assert printable(Path("ä\n\udcff\x1b.jpg")) == "ä\\n\\xff\\x1b.jpg"
