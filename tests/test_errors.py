"""Tree of errors: complete, and equal to its drawing."""

from __future__ import annotations

import re

import pytest

import app.errors
from app.errors import EngineCrashed, InternalError, ServiceError, error_codes, from_code


@pytest.mark.parametrize("error", error_codes().values())
def test_every_error_has_title_message_and_solution(error: type[ServiceError]) -> None:
    assert error.title and error.default_message and error.solution and 400 <= error.status <= 504


def test_the_drawing_shows_every_leaf() -> None:
    drawn = dict(re.findall(r"(\w+) (?:\d{3})? +([A-Z_0-9]+)$", app.errors.__doc__ or "", re.MULTILINE))
    assert drawn == {error.__name__: code for code, error in error_codes().items() if error.__module__ == "app.errors"}


def test_an_error_crosses_the_process_boundary() -> None:
    error = from_code("ENGINE_CRASHED", "gone", "why", "again")
    assert isinstance(error, EngineCrashed)
    assert (error.message, error.details, error.advice) == ("gone", "why", "again")


def test_an_unknown_code_is_internal() -> None:
    assert type(from_code("NONSENSE", "text")) is InternalError
