"""A training on a dozen drawn pictures: the loss falls, the result is exported, a resumed run equals a whole one."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from onnx import numpy_helper

from app.engine.models import REGISTRY
from app.engine.weights import EMBEDDED, sha256
from tests.support.drawn_photos import draw_photo, write_set
from tests.support.onnx_models import write_model
from tests.support.torch_tests import HAS_TORCH, needs_torch
from training import models
from training.photos import Damaged, list_photos
from training.recipe import Recipe
from training.samples import Sampler, TrainingSet

if HAS_TORCH:
    import torch

    from training.evaluation import as_session
    from training.export import MAX_DIFFERENCE, export
    from training.merge import main as merge
    from training.network import Network, load_encoder
    from training.trainer import Trainer

pytestmark = needs_torch

ENCODER = EMBEDDED / "lite.onnx"
RECIPE = Recipe(steps=60, batch=4, rate=5e-3, sizes=(64,), widths=(16, 16, 8, 8), context=8)


def nothing() -> None:
    """Replace the check for signals."""


@pytest.fixture
def sampler(data: Path) -> Sampler:
    write_set(data / "some", 12)
    return Sampler([TrainingSet(list_photos(data), 1.0)], [], RECIPE.seed, RECIPE.batch)


def state(trainer: Trainer) -> list[NDArray[np.float32]]:
    return [value.numpy() for part in (trainer.network, trainer.average) for value in part.state_dict().values()]


def test_the_loss_falls_and_the_export_gives_the_same_masks(sampler: Sampler, tmp_path: Path) -> None:
    trainer = Trainer(RECIPE, ENCODER)
    losses = trainer.run(sampler, RECIPE.steps, nothing)
    assert trainer.done
    assert np.mean(losses[-10:]) < 0.75 * np.mean(losses[:10])
    path = tmp_path / "lite.onnx"
    export(trainer.average, path)
    for seed in range(3):
        photo, _ = draw_photo(seed)
        found, expected = models.load("lite", path).predict(photo), as_session(trainer.average).predict(photo)
        assert expected.std() > 0.001
        assert abs(found - expected).max() < MAX_DIFFERENCE
    assert path.with_name("lite.onnx.sha256").read_text() == f"{sha256(path)}  lite.onnx\n"


def test_a_resumed_run_equals_a_whole_one(sampler: Sampler, tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint.pt"
    whole, begun, resumed = (Trainer(RECIPE, ENCODER) for _ in range(3))
    losses = whole.run(sampler, 6, nothing)
    first = begun.run(sampler, 3, nothing)
    begun.save(checkpoint)
    resumed.resume(checkpoint)
    assert losses == first + resumed.run(sampler, 6, nothing)
    assert all(np.array_equal(one, other) for one, other in zip(state(whole), state(resumed), strict=True))


def test_a_loss_that_is_not_a_number_ends_the_run_and_leaves_the_weights(sampler: Sampler) -> None:
    trainer = Trainer(RECIPE, ENCODER)
    with torch.no_grad():
        trainer.network.head.bias.fill_(float("nan"))
    before = state(trainer)[:10]
    with pytest.raises(ValueError, match="The loss of step 0 is not a number"):
        trainer.run(sampler, 1, nothing)
    assert all(np.array_equal(one, other) for one, other in zip(before, state(trainer), strict=False))


@pytest.mark.parametrize("name", ["start.pt", "start.onnx"])
def test_a_damaged_start_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"text" * 100)
    with pytest.raises(ValueError, match="is not"):
        Trainer(RECIPE, tmp_path / name)


def test_a_stop_loses_no_step(sampler: Sampler) -> None:
    trainer = Trainer(RECIPE)

    def stop() -> None:
        if trainer.step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer.run(sampler, 6, stop)
    assert trainer.step == 2


def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    Trainer(RECIPE).save(tmp_path / "checkpoint.pt")
    other = Trainer(dataclasses.replace(RECIPE, rate=1e-4))
    with pytest.raises(ValueError, match="made with other settings"):
        other.resume(tmp_path / "checkpoint.pt")


def test_a_training_begins_with_the_average_of_a_checkpoint(sampler: Sampler, tmp_path: Path) -> None:
    earlier = Trainer(RECIPE)
    earlier.run(sampler, 2, nothing)
    earlier.save(tmp_path / "checkpoint.pt")
    begun = Trainer(RECIPE, tmp_path / "checkpoint.pt").network.state_dict()
    assert all(torch.equal(value, begun[name]) for name, value in earlier.average.state_dict().items())


def test_a_photo_that_is_damaged_during_the_training_is_named(sampler: Sampler, data: Path) -> None:
    for path in (data / "some").glob("*.jpg"):
        path.write_bytes(b"text")
    with pytest.raises(Damaged, match=r"^some/\d+ cannot be decoded: unknown format$"):
        Trainer(RECIPE).run(sampler, 1, nothing)


def test_several_processes_make_the_batches_that_one_makes(sampler: Sampler) -> None:
    one, other = Trainer(RECIPE, ENCODER), Trainer(RECIPE, ENCODER)
    assert one.run(sampler, 3, nothing) == other.run(sampler, 3, nothing, workers=2)


@pytest.mark.parametrize(("options", "share"), [([], 0.5), (["--share", "3", "--share", "1"], 0.75)])
def test_merged_weights_are_the_mean(sampler: Sampler, tmp_path: Path, options: list[str], share: float) -> None:
    trainer = Trainer(RECIPE)
    first, second, out = (tmp_path / name for name in ("first.pt", "second.pt", "new folder/out.pt"))
    trainer.save(first)
    trainer.run(sampler, 2, nothing)
    trainer.save(second)
    CliRunner().invoke(merge, [str(out), str(first), str(second), *options], catch_exceptions=False)
    found, *parts = (Trainer(RECIPE, path).average.head.weight for path in (out, first, second))
    assert not torch.equal(parts[0], parts[1])
    assert torch.allclose(found, share * parts[0] + (1 - share) * parts[1])


def test_a_share_for_each_checkpoint_is_needed(tmp_path: Path) -> None:
    Trainer(RECIPE).save(tmp_path / "one.pt")
    paths = [str(tmp_path / name) for name in ("out.pt", "one.pt", "one.pt")]
    result = CliRunner().invoke(merge, [*paths, "--share", "1"])
    assert (result.exit_code, "1 shares for 2 checkpoints" in result.output) == (2, True)


def test_merging_of_another_network_is_refused(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("first.pt", "second.pt")]
    for path, context in zip(paths, (8, 16), strict=True):
        Trainer(dataclasses.replace(RECIPE, context=context)).save(path)
    result = CliRunner().invoke(merge, [str(tmp_path / "out.pt"), *map(str, paths)])
    assert (result.exit_code, "second.pt is of another network" in result.output) == (1, True)


def test_frozen_blocks_stay_and_the_others_learn(sampler: Sampler) -> None:
    trainer = Trainer(RECIPE, ENCODER)
    before = {name: value.clone() for name, value in trainer.network.named_parameters()}
    trainer.run(sampler, 2, nothing)
    same = {name for name, value in trainer.network.named_parameters() if torch.equal(value, before[name])}
    frozen = ("stem.", *(f"blocks.{number}." for number in range(RECIPE.frozen)))
    assert same == {name for name in before if name.startswith(frozen)}


def test_the_encoder_is_taken_from_the_embedded_model() -> None:
    network = Network(RECIPE.widths, RECIPE.context)
    load_encoder(network, ENCODER)
    weights = [numpy_helper.to_array(tensor) for tensor in onnx.load(ENCODER).graph.initializer]
    (last,) = (values for values in weights if values.shape == (320, 960, 1, 1))
    assert np.array_equal(network.blocks[16].project.weight.detach().numpy(), last)


def test_an_encoder_of_another_graph_is_refused(tmp_path: Path) -> None:
    path = write_model(REGISTRY["u2netp"], tmp_path)
    with pytest.raises(ValueError, match=r"u2netp\.onnx does not begin with Add, Conv"):
        load_encoder(Network(RECIPE.widths, RECIPE.context), path)
