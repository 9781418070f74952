"""The steps of `make train`, each of which continues where a stopped run ended."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from training import models
from training.card import card
from training.comparison import NEW, TODAY, compare
from training.dataset import Data, NamedSet, assemble, read_sets
from training.evaluation import as_session, evaluate
from training.export import export
from training.labels import ensemble, label
from training.recipe import Recipe
from training.samples import Sampler
from training.trainer import Trainer
from training.worst import write_worst

__all__ = ["Plan", "run"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Plan:
    """Job of a run: the folders of data and results, the models by name or path, and the recipe."""

    data: Path
    folder: Path
    teachers: tuple[str, ...]
    today: str
    start: Path
    recipe: Recipe
    workers: int = 1
    checkpoint_every: int = 100
    evaluate_every: int = 500


def run(plan: Plan, check: Callable[[], None]) -> list[str]:
    """Label, train, export, compare and write the card; return the objections to the new model."""
    plan.folder.mkdir(parents=True, exist_ok=True)
    sets = read_sets(plan.data)
    teachers = [models.resolve(name) for name in plan.teachers]  # a missing one is an error before hours of training
    today = models.resolve(plan.today)
    labels = plan.folder / "labels"
    subjects = (photo for one in sets if not one.facts.background for photo in one.training)
    label(subjects, ensemble([models.load(*teacher).predict for teacher in teachers]), labels, check)
    data = assemble(sets, labels, plan.folder / "skipped.json", check)
    _report_sets(data)
    trainer = train(plan, data, check)
    exported = plan.folder / "lite.onnx"
    export(trainer.average, exported)
    others = {f"teacher {name}": (name, path) for name, path in teachers}
    return _judge(plan, data, {TODAY: today, NEW: ("lite", exported), **others}, check)


def _report_sets(data: Data) -> None:
    for one in (*data.sets, *data.backgrounds):
        log.info("%s: %d for training, %d for validation", one.name, len(one.training), len(one.validation))


def train(plan: Plan, data: Data, check: Callable[[], None]) -> Trainer:
    """Train, or go on from the checkpoint; a stop or a failure leaves a checkpoint of the last step."""
    checkpoint = plan.folder / "checkpoint.pt"
    trainer = Trainer(plan.recipe, plan.start)
    if checkpoint.is_file():
        trainer.resume(checkpoint)
        log.info("Resumed at step %d", trainer.step)
    sampler = Sampler(data.training_sets(), data.background_photos(), plan.recipe.seed, plan.recipe.batch)
    try:
        while not trainer.done:
            trainer.run(sampler, trainer.step + plan.checkpoint_every, check, plan.workers)
            trainer.save(checkpoint)
            if trainer.step % plan.evaluate_every == 0:
                _report_scores(trainer, data.validation_sets(), check)
    finally:
        trainer.save(checkpoint)
    return trainer


def _report_scores(trainer: Trainer, sets: list[NamedSet], check: Callable[[], None]) -> None:
    session = as_session(trainer.average)
    for one in sets:
        score = evaluate(session.predict, one, check)
        log.info("Step %d, %s: IoU %.4f, MAE %.4f, %d bad", trainer.step, one.name, score.iou, score.mae, score.bad)


def _judge(plan: Plan, data: Data, paths: dict[str, tuple[str, Path]], check: Callable[[], None]) -> list[str]:
    sets = data.validation_sets()
    sessions = {name: models.load(*where) for name, where in paths.items()}
    comparison = compare(sessions, sets, check)
    text = card(paths[NEW][1], plan.recipe, plan.start.name, ", ".join(plan.teachers), data, comparison)
    (plan.folder / "lite.md").write_text(text, "utf-8")
    (plan.folder / "comparison.json").write_text(json.dumps(asdict(comparison), indent=1), "utf-8")
    worst = write_worst(comparison, sets, sessions, plan.folder / "worst.jpg")
    (plan.folder / "worst.txt").write_text("\n".join(worst) + "\n", "utf-8")
    log.info("Compared:\n%s", comparison.table())
    return comparison.objections()
