"""Facts about sets: which photos validate, and which facts are refused."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from tests.support.drawn_photos import write_set
from training.catalogue import Facts, facts_of, read_facts
from training.photos import list_photos


@pytest.mark.parametrize(
    ("validation", "training", "kept"),
    [
        ("last 2", "001 002 003 004", "005 006"),
        ("every 3", "002 003 005 006", "001 004"),
        ("", "001 002 003 004 005 006", ""),
    ],
)
def test_photos_are_divided_by_the_order_of_their_names(data: Path, validation: str, training: str, kept: str) -> None:
    write_set(data / "some", 6)
    parts = Facts(masks="human", validation=validation).split(list_photos(data))
    assert [[photo.name for photo in part] for part in parts] == [training.split(), kept.split()]


def test_the_facts_of_this_project_are_valid_and_state_each_licence(data: Path) -> None:
    facts = read_facts(data)
    assert facts["pascal-s"].validation == "last 175"
    assert [name for name, one in facts.items() if not one.licence or not one.source] == []


def test_an_unknown_set_validates_if_it_came_with_masks() -> None:
    assert facts_of("mine", {}, masked=True).validation == "every 20"
    assert facts_of("mine", {}, masked=False).validation == ""
    assert facts_of("mine", {}, masked=False).licence == "none stated"


def test_a_set_whose_masks_were_removed_has_those_of_the_teacher() -> None:
    known = {"cars": Facts(source="a shop", masks="human", validation="last 3")}
    assert facts_of("cars", known, masked=True).masks == "human"
    assert facts_of("cars", known, masked=False) == Facts(source="a shop")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[a]\nlicense = "MIT"', "unknown keys: license"),
        ('[a]\nlicence = "CC BY-NC 4.0"', "non-commercial licence"),
        ('[a]\nlicence = "for noncommercial research"', "non-commercial licence"),
        ('[a]\nfactor = "2"', "factor = '2' is not a float"),
        ('[a]\nmasks = "human"\nvalidation = "first 3"', "is not 'last N' or 'every N'"),
        ('[a]\nmasks = "u2netp"\nvalidation = "last 3"', "neither 'human' nor 'exact'"),
        ("a = 1", "'a' is not a table"),
        ("[a", "sets.toml"),
    ],
)
def test_bad_facts_are_refused(data: Path, text: str, message: str) -> None:
    (data / "sets.toml").write_text(text)
    with pytest.raises(click.UsageError, match=message):
        read_facts(data)
