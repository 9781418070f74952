"""Data of a training: labels, division, and what is left out."""

from __future__ import annotations

import tarfile
from pathlib import Path

import click
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.support.drawn_photos import SIZE, write_set
from training.dataset import Data, assemble, read_sets
from training.labels import ensemble, label
from training.photos import SIDE, list_photos


def nothing() -> None:
    """Replace the check for signals."""


def half(_image: Image.Image) -> NDArray[np.float32]:
    mask = np.zeros((SIDE, SIDE), np.float32)
    mask[:, : SIDE // 2] = 1
    return mask


def assembled(data: Path) -> Data:
    return assemble(read_sets(data), data.parent / "labels", data.parent / "skipped.json", nothing)


def names(data: Data) -> dict[str, list[str]]:
    return {one.name: [photo.name for photo in one.training] for one in data.sets}


def test_photos_without_masks_get_the_teachers(data: Path) -> None:
    write_set(data / "some", 2, masks=False)
    label(list_photos(data), half, data.parent / "labels", nothing)
    (one,) = assembled(data).sets
    assert [photo.name for photo in one.training] == ["001", "002"]
    assert np.array_equal(one.training[0].open_mask(), 255 * half(Image.new("RGB", SIZE)))


def test_several_teachers_give_the_mean_of_their_masks() -> None:
    def all_of_it(_image: Image.Image) -> NDArray[np.float32]:
        return np.ones((2 * SIDE, 2 * SIDE), np.float32)

    mask = ensemble([half, all_of_it])(Image.new("RGB", SIZE))
    assert mask.shape == (SIDE, SIDE)
    assert (mask[0, 0], mask[0, -1]) == (1.0, 0.5)


def test_labels_that_exist_stay(data: Path) -> None:
    write_set(data / "some", 2, masks=False)
    label(list_photos(data)[:1], half, data.parent / "labels", nothing)
    seen = []

    def teacher(image: Image.Image) -> NDArray[np.float32]:
        seen.append(image)
        return half(image)

    label(list_photos(data), teacher, data.parent / "labels", nothing)
    assert len(seen) == 1


def test_a_damaged_photo_is_reported_and_not_labelled(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    (write_set(data / "some", 2, masks=False) / "001.jpg").write_bytes(b"text")
    label(list_photos(data), half, data.parent / "labels", nothing)
    assert "some/001 skipped: cannot be decoded" in caplog.text
    assert names(assembled(data)) == {"some": ["002"]}


def test_damaged_and_doubtful_photos_are_left_out_with_a_report(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_set(data / "some", 5)
    (data / "sets.toml").write_text('[some]\nmasks = "u2netp"')
    (folder / "001.jpg").write_bytes(b"text")
    Image.new("L", SIZE).save(folder / "002.png")
    Image.new("L", SIZE, 255).save(folder / "003.png")
    Image.linear_gradient("L").save(folder / "004.png")
    assert names(assembled(data)) == {"some": ["005"]}
    for message in ("unknown format (1): some/001", "tiny (1): some/002", "all (1): some/003", "unsure (1): some/004"):
        assert message in caplog.text


def test_soft_masks_of_people_are_kept(data: Path) -> None:
    Image.linear_gradient("L").save(write_set(data / "some", 2) / "002.png")
    assert names(assembled(data)) == {"some": ["002"]}  # the first of twenty validates


def test_a_damaged_photo_moves_no_other_into_training(data: Path) -> None:
    folder = write_set(data / "some", 22)
    before = {photo.name for one in assembled(data).sets for photo in one.validation}
    (folder / "001.jpg").write_bytes(b"text")
    after = {photo.name for one in assembled(data).sets for photo in one.validation}
    assert (before, after) == ({"001", "021"}, {"021"})


def test_what_is_left_out_is_found_once_for_the_same_files(data: Path) -> None:
    folder = write_set(data / "some", 3)
    checks = []
    for _ in range(2):
        assemble(read_sets(data), data.parent, data.parent / "skipped.json", lambda: checks.append(1))
    assert len(checks) == 3
    (folder / "003.jpg").write_bytes(b"text")
    assert names(assembled(data)) == {"some": ["002"]}


def test_backgrounds_need_no_masks(data: Path) -> None:
    write_set(data / "some", 2)
    write_set(data / "bg-elementary", 3, masks=False)
    assert len(assembled(data).background_photos()) == 3


def test_a_folder_and_a_tar_of_the_same_name_are_refused(data: Path) -> None:
    folder = write_set(data / "some", 1)
    with tarfile.open(data / "some.tar", "w") as tar:
        tar.add(folder / "001.jpg", "002.jpg")
    write_set(data / "some-other", 1)
    with pytest.raises(click.UsageError, match="a folder and a tar of the same name: some"):
        read_sets(data)


@pytest.mark.parametrize("masks", [True, False])
def test_a_folder_without_use_is_an_error(data: Path, masks: bool) -> None:
    if not masks:
        write_set(data / "some", 1, masks=False)
    with pytest.raises(click.UsageError, match="no folder and no tar" if masks else "No photo with a usable mask"):
        assembled(data)
