"""Sessions: results compared with rembg's, and the cache."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from PIL import Image

from app.engine import weights
from app.engine.models import REGISTRY, ModelSpec
from app.engine.rembg_entry import session_class
from app.engine.session import RETRY_SECONDS, Session, SessionCache, load_session
from app.errors import ModelUnavailable
from app.imaging.reference import full_range, resized_mask
from app.imaging.subject import stretch
from tests.support.onnx_models import write_model
from tests.support.photos import photo

# One model of each kind of preprocessing.
KINDS = [
    REGISTRY[name]
    for name in ("u2net", "u2netp", "silueta", "isnet-general-use", "isnet-anime", "birefnet-general-lite")
]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REMBG_HOME", str(tmp_path))
    monkeypatch.delenv("U2NET_HOME", raising=False)
    return tmp_path


def provide(model: ModelSpec, home: Path) -> None:
    """Put a model where rembg expects it."""
    if model.embedded:  # rembg downloads the same file
        (home / "models" / model.name).mkdir(parents=True)
        shutil.copy(weights.require(model), home / "models" / model.name)
    else:
        write_model(model, home)


def difference(ours: np.ndarray[Any, Any], theirs: Image.Image) -> float:
    return float(np.abs(ours * 255 - np.asarray(theirs, np.float32)).max())


@pytest.mark.parametrize("model", KINDS, ids=lambda model: model.name)
@pytest.mark.parametrize("name", ["astronaut", "coffee"])
def test_predictions_equal_rembgs(model: ModelSpec, name: str, home: Path) -> None:
    provide(model, home)
    # The model's size, so that neither side resizes; the next test compares resampling.
    image = photo(name).resize((model.size, model.size))
    theirs = session_class(model)(model.name, ort.SessionOptions()).predict(image)[0]
    ours = load_session(model, threads=1).predict(image)
    assert difference(stretch(ours), theirs) <= 1.01  # they truncate to 8 bits, we do not


@pytest.mark.parametrize("model", KINDS, ids=lambda model: model.name)
def test_exact_predictions_give_rembgs_masks_byte_for_byte(model: ModelSpec, home: Path) -> None:
    provide(model, home)
    theirs = session_class(model)(model.name, ort.SessionOptions()).predict(photo("coffee"))[0]
    raw = load_session(model, threads=1).predict(photo("coffee"), exact=True)
    assert resized_mask(full_range(raw), photo("coffee").size).tobytes() == theirs.tobytes()


def test_preprocessing_equals_rembgs_normalize(home: Path) -> None:
    model = REGISTRY["u2net"]
    write_model(model, home)
    theirs = session_class(model)(model.name, ort.SessionOptions())
    expected = theirs.normalize(photo("astronaut"), model.mean, model.std, (model.size, model.size))["input"]
    ours = load_session(model, threads=1).preprocess(photo("astronaut"))
    assert ours.dtype == expected.dtype == np.float32
    assert np.abs(ours - expected).max() < 0.02  # a grey level of 255 is 0.017


def test_the_embedded_model_returns_probabilities() -> None:
    raw = load_session(REGISTRY["lite"], threads=2).predict(photo("astronaut"))
    assert raw.shape == (320, 320) and raw.dtype == np.float32
    assert 0 <= raw.min() < 0.1 and 0.9 < raw.max() <= 1


def test_a_damaged_exact_graph_is_refused_at_its_first_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in weights.files(REGISTRY["u2netp"]):
        shutil.copy(path, tmp_path)
        shutil.copy(path.with_name(f"{path.name}.sha256"), tmp_path)
    (tmp_path / "u2netp.onnx").write_bytes((tmp_path / "u2netp.onnx").read_bytes() + b"\0")
    monkeypatch.setattr(weights, "EMBEDDED", tmp_path)
    session = load_session(REGISTRY["u2netp"], threads=1)
    image = photo("astronaut").resize((320, 320))
    assert session.predict(image).shape == (320, 320)
    with pytest.raises(ModelUnavailable, match="damaged"):
        session.predict(image, exact=True)


def threads_of(inference: Any) -> int:
    return int(inference.get_session_options().intra_op_num_threads)


def test_an_engine_that_is_alone_uses_more_threads_with_the_same_result() -> None:
    session = load_session(REGISTRY["lite"], threads=1, threads_alone=2)
    assert session.inference_alone is not None
    assert (threads_of(session.inference), threads_of(session.inference_alone())) == (1, 2)
    assert session.inference_alone() is session.inference_alone()
    shared, alone = (session.predict(photo("cat"), alone=alone) for alone in (False, True))
    assert np.abs(shared - alone).max() < 1e-3


@pytest.mark.parametrize(("name", "threads"), [("u2net", 1), ("u2netp", 2)])
def test_a_heavy_model_or_one_with_all_threads_is_not_loaded_twice(name: str, threads: int, home: Path) -> None:
    write_model(REGISTRY[name], home)
    assert load_session(REGISTRY[name], threads, threads_alone=2).inference_alone is None


@pytest.mark.parametrize("colour", ["black", "white"])
def test_a_constant_image_gives_finite_values(colour: str) -> None:
    raw = load_session(REGISTRY["lite"], threads=1).predict(Image.new("RGB", (50, 40), colour))
    assert np.isfinite(raw).all()


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x07" * 500])
def test_broken_weights_are_unavailable(content: bytes, home: Path) -> None:
    write_model(REGISTRY["u2net"], home).write_bytes(content)
    with pytest.raises(ModelUnavailable, match="could not be loaded"):
        load_session(REGISTRY["u2net"], threads=1)


class Loader:
    """Loader of fake sessions, with a switch for failures and a manual clock."""

    def __init__(self) -> None:
        self.loads: list[str] = []
        self.failing = False
        self.now = 1000.0

    def load(self, model: ModelSpec, threads: int) -> Session:
        self.loads.append(model.name)
        if self.failing:
            raise ModelUnavailable("broken")
        return Session(model, None, "input", "mask")


@pytest.fixture
def loader() -> Iterator[Loader]:
    yield Loader()


@pytest.fixture
def cache(loader: Loader, monkeypatch: pytest.MonkeyPatch) -> SessionCache:
    monkeypatch.setattr("app.engine.weights.require", lambda model: None)
    return SessionCache(1, load=loader.load, clock=lambda: loader.now)


def test_a_model_is_loaded_once(cache: SessionCache, loader: Loader) -> None:
    assert cache.get("lite") is cache.get("lite")
    assert loader.loads == ["lite"]


def test_only_one_model_is_kept(cache: SessionCache, loader: Loader) -> None:
    for name in ("lite", "u2net", "lite"):
        assert cache.get(name).model.name == name
    assert loader.loads == ["lite", "u2net", "lite"]


def test_a_failed_load_is_tried_again_after_the_retry_time(cache: SessionCache, loader: Loader) -> None:
    loader.failing = True
    for _ in range(3):
        with pytest.raises(ModelUnavailable):
            cache.get("u2net")
    assert loader.loads == ["u2net"]
    loader.failing, loader.now = False, loader.now + RETRY_SECONDS
    assert cache.get("u2net").model.name == "u2net"


def test_missing_weights_do_not_unload_the_loaded_model(loader: Loader, home: Path) -> None:
    cache = SessionCache(1, load=loader.load)
    cache.get("lite")
    with pytest.raises(ModelUnavailable):
        cache.get("u2net")
    assert cache.get("lite").model.name == "lite" and loader.loads == ["lite"]


def test_a_failed_load_does_not_affect_other_models(cache: SessionCache, loader: Loader) -> None:
    loader.failing = True
    with pytest.raises(ModelUnavailable):
        cache.get("u2net")
    loader.failing = False
    assert cache.get("lite").model.name == "lite"
