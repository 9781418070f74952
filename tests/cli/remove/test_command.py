"""Command `remove`: inputs, outputs, options, failures and exit statuses."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from app.errors import CorruptImage, ModelUnavailable
from tests.support.doubles import FakePool
from tests.support.photos import jpeg

Remove = Callable[..., Result]


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_single_photo_has_its_output_beside_it(remove: Remove, photos: Path) -> None:
    result = remove(photos / "a.jpg")
    assert result.exit_code == 0 and (photos / "a.png").read_bytes() == b"picture"
    assert result.stdout == "" and "1 done, 0 skipped, 0 failed" in result.stderr


def test_a_png_beside_itself_keeps_its_ending(remove: Remove, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(jpeg())
    assert remove(tmp_path / "a.png").exit_code == 0
    assert files_below(tmp_path) == {"a.png", "a.png.png"} and (tmp_path / "a.png").read_bytes() == jpeg()


def test_an_older_file_beside_a_photo_is_not_replaced(remove: Remove, photos: Path) -> None:
    (photos / "a.png").write_bytes(b"another photo")
    os.utime(photos / "a.png", (1, 1))
    result = remove(photos / "a.jpg")
    assert result.exit_code == 1 and "OUTPUT_EXISTS" in result.stderr
    assert (photos / "a.png").read_bytes() == b"another photo"
    assert remove(photos / "a.jpg", "--overwrite").exit_code == 0


@pytest.mark.parametrize(
    ("option", "names"), [(None, {"a.png", "b c.png"}), ("--recursive", {"a.png", "b c.png", "sub/d.png"})]
)
def test_a_folder_keeps_its_tree(
    option: str | None, names: set[str], remove: Remove, photos: Path, tmp_path: Path
) -> None:
    assert remove(photos, "-o", tmp_path / "out", *([option] if option else [])).exit_code == 0
    assert files_below(tmp_path / "out") == names


def test_an_output_folder_inside_the_input_is_not_searched(remove: Remove, photos: Path) -> None:
    for _ in range(2):
        assert remove(photos, "-o", photos / "out", "-r").exit_code == 0
    assert files_below(photos / "out") == {"a.png", "b c.png", "sub/d.png"}


def test_newer_outputs_are_skipped_and_older_ones_made_again(
    remove: Remove, photos: Path, tmp_path: Path, fake_pool: FakePool
) -> None:
    remove(photos, "-o", tmp_path / "out")
    assert "0 done, 2 skipped" in remove(photos, "-o", tmp_path / "out").stderr
    os.utime(tmp_path / "out/a.png", (1, 1))
    assert "1 done, 1 skipped" in remove(photos, "-o", tmp_path / "out").stderr
    assert "2 done, 0 skipped" in remove(photos, "-o", tmp_path / "out", "--overwrite").stderr
    assert len(fake_pool.requests) == 5


def test_the_options_are_those_of_the_api(remove: Remove, photos: Path, fake_pool: FakePool) -> None:
    result = remove(photos / "a.jpg", "--preset", "amazon", "--format", "webp", "--no-crop", "--model", "u2netp")
    assert result.exit_code == 0 and (photos / "a.webp").exists()
    options = fake_pool.options
    assert (options.format, options.quality, options.background) == ("WEBP", 90, (255, 255, 255, 255))
    assert not options.crop and options.model == "u2netp" and options.clean_mask


def test_the_ending_of_an_output_file_is_its_format(
    remove: Remove, photos: Path, tmp_path: Path, fake_pool: FakePool
) -> None:
    assert remove(photos / "a.jpg", "-o", tmp_path / "x.webp").exit_code == 0
    assert fake_pool.options.format == "WEBP" and (tmp_path / "x.webp").exists()


def test_several_presets_have_a_folder_each(remove: Remove, photos: Path, tmp_path: Path) -> None:
    assert remove(photos / "a.jpg", "-o", tmp_path / "o", "--preset", "amazon", "--preset", "thumbnail").exit_code == 0
    assert files_below(tmp_path / "o") == {"amazon/a.jpg", "thumbnail/a.webp"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{photos}"], "output folder"),
        (["{photos}", "-o", "{photos}"], "must not be an input folder"),
        (["{photos}/a.jpg", "--quality", "5"], "Parameter 'quality' must be a whole number from 10 to 100"),
        (["{photos}/a.jpg", "--preset", "no"], "Parameter 'preset' must be one of"),
        (["{photos}/a.jpg", "--model", "no"], "Parameter 'model' must be one of"),
        (["{photos}/a.jpg", "--model", "u2net"], "models pull u2net"),
        (["{photos}/a.jpg", "-o", "{photos}/a.jpg/x"], "Not a directory"),
        (["{photos}/a.jpg", "--report", "{photos}/none/x"], "--report"),
        (["{photos}/a.jpg", "--background-file", "{photos}/none"], "--background-file"),
        (["{photos}/a.jpg", "--report", ""], "'--report': the path is empty"),
        (["{photos}/a.jpg", "-o", ""], "'-o' / '--output': the path is empty"),
        (["{photos}/a.jpg", "-o", "{photos}/a.gif"], "no format has this ending, only .avif, .jpeg, .jpg, .png"),
        ([""], "the path is empty"),
        (["-", "{photos}/a.jpg"], "reads one photo"),
        (["{photos}/a.jpg", "-o", "-"], "for the input '-' only"),
        ([], "Missing argument"),
    ],
)
def test_a_usage_error_has_status_2(
    arguments: list[str], message: str, remove: Remove, photos: Path, fake_pool: FakePool
) -> None:
    result = remove(*(argument.format(photos=photos) for argument in arguments))
    assert result.exit_code == 2 and message in " ".join(result.stderr.split())
    assert fake_pool.requests == []


def test_stdin_goes_to_stdout_alone(remove: Remove, tmp_path: Path) -> None:
    result = remove("-", input=jpeg())
    assert (result.exit_code, result.stdout_bytes, result.stderr) == (0, b"picture", "")
    assert remove("-", "-o", tmp_path / "x.png", input=jpeg()).stdout_bytes == b""
    assert (tmp_path / "x.png").read_bytes() == b"picture"


def test_a_failure_on_stdin_writes_nothing_to_stdout(remove: Remove) -> None:
    result = remove("-", input=b"text")
    assert (result.exit_code, result.stdout_bytes) == (1, b"") and "UNSUPPORTED_FORMAT" in result.stderr


def test_a_failure_is_reported_and_the_other_photos_go_on(remove: Remove, photos: Path, tmp_path: Path) -> None:
    (photos / "empty.jpg").touch()
    report = tmp_path / "report.jsonl"
    result = remove(photos, photos / "none.jpg", "-o", tmp_path / "out", "--report", report, "--quiet")
    assert result.exit_code == 1 and result.stdout == ""
    assert "empty.jpg: EMPTY_FILE: " in result.stderr and "none.jpg: NOT_FOUND: " in result.stderr
    lines = {Path(line["file"]).name: line for line in map(json.loads, report.read_text().splitlines())}
    assert {name: line["state"] for name, line in lines.items()} == {
        "a.jpg": "done",
        "b c.jpg": "done",
        "empty.jpg": "failed",
        "none.jpg": "failed",
    }
    assert lines["empty.jpg"]["code"] == "EMPTY_FILE" and lines["a.jpg"]["output"] == str(tmp_path / "out/a.png")


def test_json_has_one_line_per_photo(remove: Remove, photos: Path, tmp_path: Path, fake_pool: FakePool) -> None:
    fake_pool.failure = CorruptImage()
    lines = [json.loads(line) for line in remove(photos, "-o", tmp_path / "out", "--json").stdout.splitlines()]
    assert [(line["state"], line["code"]) for line in lines] == [("failed", "CORRUPT_IMAGE")] * 2


def test_a_model_that_cannot_be_used_ends_the_run(remove: Remove, tmp_path: Path, fake_pool: FakePool) -> None:
    for number in range(20):
        (tmp_path / f"{number}.jpg").write_bytes(jpeg())
    fake_pool.failure = ModelUnavailable()
    result = remove(tmp_path, "-o", tmp_path / "out")
    assert result.exit_code == 1 and len(fake_pool.requests) <= 3 and " left" in result.stderr


def test_a_full_disk_ends_the_run_without_a_part(
    remove: Remove, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> int:
        path.touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    result = remove(photos, "-o", tmp_path / "out")
    assert result.exit_code == 1 and "WRITE_FAILED: No space left on device" in result.stderr
    assert files_below(tmp_path / "out") == set()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no /dev/full")
def test_a_full_disk_of_the_report_ends_the_run_with_a_reason(remove: Remove, photos: Path, tmp_path: Path) -> None:
    result = remove(photos, "-o", tmp_path / "out", "--report", "/dev/full")
    assert (result.exit_code, result.stderr) == (1, "Error: --report /dev/full: No space left on device\n")


def test_a_name_that_is_too_long_fails_alone(remove: Remove, photos: Path, tmp_path: Path) -> None:
    out, longest = tmp_path / "out", f"{'x' * 251}.jpg"
    (photos / longest).write_bytes(jpeg())
    out.mkdir()
    result = remove(photos, photos / f"{'x' * 300}", "-o", out, "--format", "webp")
    assert result.exit_code == 1 and "2 done, 0 skipped, 2 failed" in result.stderr
    assert f"{longest}: WRITE_FAILED: File name too long" in result.stderr
    assert "READ_FAILED: File name too long" in result.stderr


def test_names_may_have_any_bytes(remove: Remove, tmp_path: Path) -> None:
    folder, out = os.fsencode(tmp_path / "in"), tmp_path / "out"
    os.mkdir(folder)
    for name in (b"\xff\xfe.jpg", b"new\nline.jpg", b"-o.jpg"):
        with open(os.path.join(folder, name), "wb") as file:
            file.write(jpeg() if name != b"\xff\xfe.jpg" else b"text")
    result = remove(tmp_path / "in", "-o", out)
    assert result.exit_code == 1 and "\\xff\\xfe.jpg: UNSUPPORTED_FORMAT" in result.stderr
    assert files_below(out) == {"new\nline.png", "-o.png"}


def test_photos_of_two_inputs_never_share_an_output(remove: Remove, photos: Path, tmp_path: Path) -> None:
    result = remove(photos, photos / "sub/d.jpg", photos / "sub", "-o", tmp_path / "out")
    assert result.exit_code == 1 and result.stderr.count("SAME_OUTPUT") == 1


def test_an_empty_folder_is_a_message(remove: Remove, tmp_path: Path) -> None:
    result = remove(tmp_path, "-o", tmp_path / "out")
    assert result.exit_code == 0 and "No photos were found" in result.stderr and "--recursive" in result.stderr
