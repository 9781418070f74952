"""Batches of samples, made ahead by processes."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator

import cv2
import torch
from torch.utils.data import DataLoader, Dataset

from training.photos import Damaged
from training.recipe import Recipe
from training.samples import Sampler

__all__ = ["prefetched"]

Batch = tuple[torch.Tensor, torch.Tensor]


class _Batches(Dataset[Batch | Damaged]):
    """The batch of each step."""

    def __init__(self, sampler: Sampler, recipe: Recipe) -> None:
        self._sampler = sampler
        self._recipe = recipe

    def __getitem__(self, step: int) -> Batch | Damaged:
        """Return the batch; an error is returned too, since DataLoader would replace its message by a traceback."""
        try:
            images, masks = self._sampler.batch(step, self._recipe.side(step))
        except Damaged as error:
            return error
        return torch.from_numpy(images), torch.from_numpy(masks)


def prefetched(sampler: Sampler, recipe: Recipe, steps: range, workers: int) -> Iterator[Batch]:
    """Yield inputs (N, 3, S, S) and masks (N, 1, S, S) of each step, made by `workers` processes; raise Damaged.

    The processes are forked from a server without threads: OpenCV's threads do not survive a fork.
    """
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([__name__])
    batches = _Batches(sampler, recipe)
    for batch in DataLoader(
        batches, None, sampler=steps, num_workers=workers, multiprocessing_context=processes, worker_init_fn=_prepare
    ):
        if isinstance(batch, Damaged):
            raise batch
        yield batch


def _prepare(_worker: int) -> None:
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the trainer ends its workers
