"""Weighted mean of the weights of several trainings: `python -m training.merge OUT.pt RUN/checkpoint.pt …`.

Trainings that began with the same weights stay close enough to each other for this, and their mean is often better than
each (Wortsman et al., Model soups, ICML 2022), or keeps what one of them would forget (the same, Robust fine-tuning of
zero-shot models, CVPR 2022). `python -m training --start OUT.pt --steps 0` exports and compares it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
import torch

from training.trainer import Weights, load_average

__all__ = ["main", "mean_of"]


def mean_of(checkpoints: Sequence[Path], shares: Sequence[float]) -> Weights:
    """Return the mean of the averages of checkpoints; raise ValueError for a file that is none, or another network."""
    parts = [load_average(path) for path in checkpoints]
    for path, part in zip(checkpoints, parts, strict=True):
        if {name: tensor.shape for name, tensor in part.items()} != {name: t.shape for name, t in parts[0].items()}:
            raise ValueError(f"{path} is of another network than {checkpoints[0]}.")
    return {name: _mean([part[name] for part in parts], shares) for name in parts[0]}


def _mean(tensors: Sequence[torch.Tensor], shares: Sequence[float]) -> torch.Tensor:
    if not tensors[0].dtype.is_floating_point:  # numbers of batches
        return tensors[0]
    return sum(share * tensor for share, tensor in zip(shares, tensors, strict=True)) / sum(shares)


@click.command()
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("checkpoints", type=click.Path(path_type=Path, dir_okay=False, exists=True), nargs=-1, required=True)
@click.option("--share", "shares", type=click.FloatRange(0, min_open=True), multiple=True,
              help="Share of each checkpoint, in their order; equal without.")  # fmt: skip
def main(out: Path, checkpoints: tuple[Path, ...], shares: tuple[float, ...]) -> None:
    """Write the mean of the weights of CHECKPOINTS to OUT."""
    if len(shares) not in (0, len(checkpoints)):
        raise click.UsageError(f"{len(shares)} shares for {len(checkpoints)} checkpoints.")
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.save({"average": mean_of(checkpoints, shares or [1.0] * len(checkpoints))}, out)
    except ValueError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
