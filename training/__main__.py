"""`python -m training`, run by `make train`."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import click

from app.engine.weights import EMBEDDED
from app.errors import ModelUnavailable
from training.idle import Control, Stopped, take_idle_priority
from training.photos import Damaged

__all__ = ["main"]

FOLDER = click.Path(path_type=Path, file_okay=False)
SIZE_STEP = 32


def _sizes(_context: click.Context, _parameter: click.Parameter, value: str) -> tuple[int, ...]:
    try:
        sizes = tuple(int(part) for part in value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a list of numbers such as 224,256,320.") from None
    if any(size < SIZE_STEP or size % SIZE_STEP for size in sizes):
        raise click.BadParameter(f"{value!r}: sizes are multiples of {SIZE_STEP}.")
    return sizes


@click.command(context_settings={"show_default": True})
@click.option("--data", type=click.Path(path_type=Path, file_okay=False, exists=True), required=True,
              help="Folder of sets: a folder or tar each.")  # fmt: skip
@click.option("--run", "folder", type=FOLDER, default=Path("training-run"),
              help="Folder of labels, checkpoint and results; an existing one is continued.")  # fmt: skip
@click.option("--teacher", "teachers", multiple=True, default=["u2netp"],
              help="Model for labels: a name of rembg's, or an ONNX file of that name; several give the mean "
                   "of their masks.")  # fmt: skip
@click.option("--today", default="lite", help="Model to compare with: a name, or an ONNX file named lite.onnx.")
@click.option("--start", type=click.Path(path_type=Path, exists=True, dir_okay=False), default=EMBEDDED / "lite.onnx",
              help="A checkpoint (.pt) to begin with, or a lite.onnx, of which the encoder is taken.")  # fmt: skip
@click.option("--steps", type=click.IntRange(0), default=8000,
              help="Number of batches; 0 only exports and compares the model of --start.")  # fmt: skip
@click.option("--batch", type=click.IntRange(2), default=16, help="Photos in a batch.")
@click.option("--rate", type=click.FloatRange(0, min_open=True), default=1.5e-3,
              help="Highest learning rate; a third of it suits a start from a checkpoint.")  # fmt: skip
@click.option("--sizes", callback=_sizes, default="224,256,256,320",
              help="Sides of the samples in px, each for an equal share of the steps.")  # fmt: skip
@click.option("--frozen", type=click.IntRange(0, 17), default=3,
              help="Blocks of the encoder that stay as they are, as its stem does; fewer take longer.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=1)
@click.option("--threads", type=click.IntRange(1), default=1, help="Threads of the CPU that train.")
@click.option("--idle/--no-idle", default=True, help="Idle priority, or that of any other process.")
@click.option("--workers", type=click.IntRange(1), default=1, help="Processes that prepare photos; more for a GPU.")
def main(
    data: Path,
    folder: Path,
    teachers: tuple[str, ...],
    today: str,
    start: Path,
    threads: int,
    workers: int,
    idle: bool,
    **settings: int | float,
) -> None:
    """Make a new `lite` from photos: label, train, evaluate, export, compare. SIGUSR1 pauses and resumes."""
    if not settings["steps"] and start.suffix == ".onnx":  # of which the encoder alone is taken
        raise click.UsageError("--steps 0 needs a checkpoint (.pt) as --start.")
    if idle:
        take_idle_priority()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stdout)
    control = Control()
    control.install()

    import cv2  # both after the priority: their threads inherit it
    import torch

    from training.pipeline import Plan, run
    from training.recipe import Recipe

    cv2.setNumThreads(threads)
    torch.set_num_threads(threads)
    torch.backends.cudnn.benchmark = True  # on a GPU, the fastest convolutions for each size of samples
    plan = Plan(data, folder, teachers, today, start, Recipe(**settings), workers)  # type: ignore[arg-type]
    try:
        objections = run(plan, control.check)
    except Stopped:
        click.echo("Stopped; the same command continues.")
        sys.exit(130)
    except (Damaged, ModelUnavailable, ValueError) as error:
        raise click.ClickException(str(error)) from error
    click.echo("\n".join(["The new model should not replace today's:", *objections] if objections
                         else ["The new model is better on every validation set and no slower."]))  # fmt: skip


if __name__ == "__main__":
    main()
