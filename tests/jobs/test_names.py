"""Names of the outputs of a job."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from app.jobs.model import NewItem, Variant
from app.jobs.names import output_path, with_bases
from tests.support.jobs import a_job


def bases(names: Sequence[str]) -> list[str]:
    return [item.base for item in with_bases(map(NewItem, names))]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["shoe.jpg", "hat.png"], ["shoe", "hat"]),
        (["shoe.jpg", "shoe.jpg", "shoe.webp"], ["shoe", "shoe-2", "shoe-3"]),
        (["Shoe.jpg", "shoe.jpg"], ["Shoe", "shoe-2"]),
        (["a.jpg", "a-2.jpg", "a.jpg"], ["a", "a-2", "a-3"]),
        (["a.jpg", "a.jpg", "a-2.jpg"], ["a", "a-2", "a-2-2"]),
        (["caf\u00e9.jpg", "cafe\u0301.jpg"], ["caf\u00e9", "cafe\u0301-2"]),
        (["../../etc/passwd", "C:\\photos\\cat.jpg", "a/b/c.d.png"], ["passwd", "cat", "c.d"]),
        (["", "..", "\x00", "photo.jpg"], ["photo", "photo-2", "photo-3", "photo-4"]),
    ],
)
def test_names_are_unique_and_stay_in_their_folder(names: list[str], expected: list[str]) -> None:
    assert bases(names) == expected


def test_many_equal_names_are_numbered() -> None:
    assert bases(["shoe.jpg"] * 5000)[-1] == "shoe-5000"


def test_the_photos_keep_their_own_names() -> None:
    assert [item.name for item in with_bases([NewItem("x/shoe.jpg")])] == ["x/shoe.jpg"]


@pytest.mark.parametrize(
    ("variants", "expected"),
    [
        ((Variant("web", {}),), "shoe.jpg"),
        ((Variant("web", {}), Variant("mobile", {})), "web/shoe.jpg"),
    ],
)
def test_several_presets_have_folders(variants: tuple[Variant, ...], expected: str) -> None:
    assert output_path(a_job(variants=variants), "shoe", "web", "image/jpeg") == expected


def test_a_preset_never_names_a_folder_above() -> None:
    variants = (Variant("../up", {}), Variant("..", {}))
    paths = [output_path(a_job(variants=variants), "shoe", variant.name, "image/png") for variant in variants]
    assert paths == ["up/shoe.png", "_/shoe.png"]
