"""Average of the weights of several trainings: `python -m training.merge OUT.pt RUN/checkpoint.pt …`.

Trainings that began with the same weights stay close enough to each other for this, and their average is often better
than each (Wortsman et al., Model soups, ICML 2022). `python -m training --start OUT.pt --steps 0` exports and compares
it.
"""

from __future__ import annotations

from pathlib import Path

import click
import torch

from training.trainer import Weights, load_average

__all__ = ["main", "mean_of"]

FILE = click.Path(path_type=Path, dir_okay=False)


def mean_of(checkpoints: list[Path]) -> Weights:
    """Return the mean of the averages of checkpoints; raise ValueError for a file that is none, or another network."""
    parts = [load_average(path) for path in checkpoints]
    for path, part in zip(checkpoints, parts, strict=True):
        if {name: tensor.shape for name, tensor in part.items()} != {name: t.shape for name, t in parts[0].items()}:
            raise ValueError(f"{path} is of another network than {checkpoints[0]}.")
    return {name: _mean([part[name] for part in parts]) for name in parts[0]}


def _mean(tensors: list[torch.Tensor]) -> torch.Tensor:
    if not tensors[0].dtype.is_floating_point:  # numbers of batches
        return tensors[0]
    return torch.stack(tensors).mean(0)


@click.command()
@click.argument("out", type=FILE)
@click.argument("checkpoints", type=click.Path(path_type=Path, dir_okay=False, exists=True), nargs=-1, required=True)
def main(out: Path, checkpoints: tuple[Path, ...]) -> None:
    """Write the mean of the weights of CHECKPOINTS to OUT."""
    try:
        torch.save({"average": mean_of(list(checkpoints))}, out)
    except ValueError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
