"""Registry of models, compared with rembg."""

from __future__ import annotations

import hashlib
import inspect
import re

import pytest

from app.engine.models import REGISTRY, ModelSpec
from app.engine.rembg_entry import session_class
from app.engine.weights import find

REMBG = [model for model in REGISTRY.values() if model.module]


def test_the_weights_of_two_models_are_embedded() -> None:
    assert [model.name for model in REGISTRY.values() if model.embedded] == ["auto", "lite", "u2netp"]


def test_the_weights_of_u2netp_are_those_that_rembg_downloads() -> None:
    path = find(REGISTRY["u2netp"])
    assert path is not None
    checksum = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    assert f'"md5:{checksum}"' in inspect.getsource(session_class(REGISTRY["u2netp"]).download_models)


@pytest.mark.parametrize(
    "unsuitable", ["sam", "u2net_cloth_seg", "u2net_custom", "ben_custom", "withoutbg", "atlascloud"]
)
def test_unsuitable_models_are_not_in_the_registry(unsuitable: str) -> None:
    assert unsuitable not in REGISTRY


@pytest.mark.parametrize("model", REMBG, ids=lambda model: model.name)
def test_names_and_numbers_equal_rembgs(model: ModelSpec) -> None:
    session = session_class(model)
    source = inspect.getsource(next(base for base in session.__mro__ if "predict" in vars(base)))
    numbers = [float(text) for text in re.findall(r"\d+\.\d+|\d+", source[source.index("self.normalize(") :])[:8]]
    assert session.name() == model.name
    assert numbers == [*model.mean, *model.std, model.size, model.size]
    assert ("self.sigmoid(" in source) == (model.activation == "sigmoid")


@pytest.mark.parametrize("model", REGISTRY.values(), ids=lambda model: model.name)
def test_every_model_needs_more_memory_than_its_weights(model: ModelSpec) -> None:
    assert model.licence and 0 < model.download_mb < model.memory_mb
