"""Photos and masks are read from folders and tars; damaged files are reported."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.drawn_photos import draw_photo, write_set
from training.photos import SIDE, Damaged, list_photos


def tar_of(folder: Path, name: str) -> Path:
    path = folder.parent / f"{name}.tar"
    with tarfile.open(path, "w") as tar:
        for file in sorted(folder.iterdir()):
            tar.add(file, file.name)
    return path


def test_a_folder_and_a_tar_give_the_same_photos(data: Path) -> None:
    folder = write_set(data / "folder", 3)
    tar_of(folder, "packed")
    one, other = ([photo for photo in list_photos(data) if photo.set_name == name] for name in ("folder", "packed"))
    assert [photo.name for photo in one] == [photo.name for photo in other] == ["001", "002", "003"]
    for left, right in zip(one, other, strict=True):
        assert left.open_image() == right.open_image()
        assert np.array_equal(left.open_mask(), right.open_mask())


def test_photos_are_paired_with_the_masks_of_their_names(data: Path) -> None:
    folder = write_set(data / "some", 2)
    (folder / "002.png").unlink()
    assert [photo.mask is not None for photo in list_photos(data)] == [True, False]


def test_a_mask_is_scaled_to_the_size_of_the_network(data: Path) -> None:
    write_set(data / "some", 1)
    found = list_photos(data)[0].open_mask()
    drawn = np.asarray(draw_photo(1)[1].resize((SIDE, SIDE)))
    assert found.shape == (SIDE, SIDE)
    assert np.mean((found >= 128) == (drawn >= 128)) > 0.99


def test_a_rotated_photo_is_read_upright(data: Path) -> None:
    folder = write_set(data / "some", 1)
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn by a quarter
    draw_photo(1)[0].save(folder / "001.jpg", exif=exif)
    assert list_photos(data)[0].open_image().size == draw_photo(1)[0].size[::-1]


def test_a_mask_without_a_photo_is_reported(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_set(data / "some", 2)
    (folder / "001.jpg").unlink()
    assert [photo.name for photo in list_photos(data)] == ["002"]
    assert "some/001.png skipped: a mask without a photo" in caplog.text


def test_a_name_that_leads_out_of_the_set_is_reported(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_set(data.parent / "some", 1)
    with tarfile.open(data / "some.tar", "w") as tar:
        tar.add(folder / "001.jpg", "../../001.jpg")
    assert list_photos(data) == []
    assert "some/../../001.jpg skipped: the name leads out of the set" in caplog.text


def test_a_compressed_tar_is_reported(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    (data / "some.tar.gz").write_bytes(b"")
    assert list_photos(data) == []
    assert "some.tar.gz skipped: compressed tars are not supported" in caplog.text


def test_a_damaged_tar_is_reported(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    (data / "some.tar").write_bytes(b"not a tar" * 200)
    assert list_photos(data) == []
    assert "some.tar is damaged" in caplog.text


@pytest.mark.parametrize("damage", [b"", b"text", "half"])
def test_a_damaged_photo_says_why(data: Path, damage: bytes | str) -> None:
    path = write_set(data / "some", 1) / "001.jpg"
    whole = path.read_bytes()
    path.write_bytes(
        whole[: len(whole) // 2] if damage == "half" else bytes(damage, "ascii") if isinstance(damage, str) else damage
    )
    with pytest.raises(Damaged, match="cannot be decoded"):
        list_photos(data)[0].open_image()


def test_a_photo_that_has_gone_says_why(data: Path) -> None:
    folder = write_set(data / "some", 1)
    photo = list_photos(data)[0]
    (folder / "001.jpg").unlink()
    with pytest.raises(Damaged, match="cannot be read: No such file"):
        photo.open_image()
