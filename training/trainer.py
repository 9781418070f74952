"""Training loop: AdamW, cosine schedule, moving average of the weights, checkpoints that resume exactly."""

from __future__ import annotations

import copy
import dataclasses
import logging
import math
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from training.batches import prefetched
from training.loss import mask_loss
from training.network import Network, load_encoder
from training.recipe import Recipe
from training.samples import Sampler

__all__ = ["Trainer", "Weights", "device", "load_average"]

log = logging.getLogger(__name__)

ENCODER_RATE = 1 / 6
WEIGHT_DECAY = 1e-4
MAX_GRADIENT = 5.0
# The learning rate rises over this share of the steps, and no more steps than that.
WARM_UP, MAX_WARM_UP_STEPS = 0.1, 100
# Last learning rate, as a share of the highest.
LAST_RATE = 2e-3
MAX_DECAY = 0.999
REPORT_EVERY = 20
Weights = dict[str, torch.Tensor]


def device() -> torch.device:
    """Return the GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Trainer:
    """A training in progress: the network, the average of its weights, the optimizer, and the number of steps done."""

    def __init__(self, recipe: Recipe, start: Path | None = None) -> None:
        """Begin with a checkpoint's average, an exported model's encoder, or random weights."""
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.step = 0
        network = Network(recipe.widths, recipe.context)
        if start is not None:
            _load_start(network, start)
        network.freeze(recipe.frozen)
        self.network = network.to(device(), memory_format=torch.channels_last).train()
        self.average = copy.deepcopy(self.network).requires_grad_(False).eval()
        groups = [
            {"params": network.encoder_parameters(), "peak": recipe.rate * ENCODER_RATE},
            {"params": network.decoder_parameters(), "peak": recipe.rate},
        ]
        self._optimizer = torch.optim.AdamW(groups, lr=recipe.rate, weight_decay=WEIGHT_DECAY)

    @property
    def done(self) -> bool:
        """Return whether all steps are done."""
        return self.step >= self.recipe.steps

    def save(self, path: Path) -> None:
        """Write a checkpoint; it replaces the previous one as a whole."""
        state = {
            "recipe": dataclasses.asdict(self.recipe),
            "step": self.step,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }
        temporary = path.with_suffix(".part")
        torch.save(state, temporary)
        temporary.replace(path)

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint of the same recipe; raise ValueError for another one."""
        state = _read(path)
        if state["recipe"] != dataclasses.asdict(self.recipe):
            raise ValueError(f"{path} was made with other settings: {state['recipe']}")
        self.step = state["step"]
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self._optimizer.load_state_dict(state["optimizer"])

    def run(self, sampler: Sampler, until: int, check: Callable[[], None], workers: int = 1) -> list[float]:
        """Train to a number of steps and return the loss of each; `check` is called before each step and may raise."""
        until = min(until, self.recipe.steps)
        losses: list[float] = []
        began = time.monotonic()
        for images, masks in prefetched(sampler, self.recipe, range(self.step, until), workers):
            check()
            losses.append(self._one_step(images, masks))
            if self.step % REPORT_EVERY == 0 or self.step == until:
                loss = sum(losses[-REPORT_EVERY:]) / len(losses[-REPORT_EVERY:])
                pace = len(losses) * self.recipe.batch / (time.monotonic() - began)
                log.info("Step %d of %d, loss %.4f, %.1f photos/s", self.step, self.recipe.steps, loss, pace)
        return losses

    def _one_step(self, images: torch.Tensor, masks: torch.Tensor) -> float:
        for group in self._optimizer.param_groups:
            group["lr"] = group["peak"] * self._schedule()
        logits = self.network(images.to(device(), memory_format=torch.channels_last))
        loss = mask_loss(logits, masks.to(device()))
        if not torch.isfinite(loss):  # before the step, so that the checkpoint stays usable
            raise ValueError(f"The loss of step {self.step} is not a number: begin again with a lower --rate.")
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), MAX_GRADIENT)
        self._optimizer.step()
        self.step += 1
        self._follow()
        return float(loss.item())

    def _schedule(self) -> float:
        """Return the share of the highest learning rate: a short rise, then half a cosine."""
        rise = min(1.0, (self.step + 1) / min(MAX_WARM_UP_STEPS, WARM_UP * self.recipe.steps))
        return rise * 0.5 * (1 + math.cos(math.pi * self.step / self.recipe.steps)) + LAST_RATE

    def _follow(self) -> None:
        """Move the average towards the network."""
        decay = min(MAX_DECAY, (1 + self.step) / (20 + self.step))
        with torch.no_grad():
            own, other = self.average.state_dict().values(), self.network.state_dict().values()
            for average, current in zip(own, other, strict=True):
                if average.dtype.is_floating_point:
                    average.lerp_(current, 1 - decay)
                else:
                    average.copy_(current)


def _load_start(network: Network, start: Path) -> None:
    if start.suffix == ".onnx":
        load_encoder(network, start)
    else:
        network.load_state_dict(load_average(start))


def load_average(path: Path) -> Weights:
    """Return the average of the weights from a checkpoint; raise ValueError for another file."""
    average: Weights = _read(path)["average"]
    return average


def _read(path: Path) -> dict[str, Any]:
    """Return a checkpoint; raise ValueError for another file."""
    if not zipfile.is_zipfile(path):  # the format of torch; its errors for other files are of a dozen types
        raise ValueError(f"{path} is not a checkpoint, or damaged.")
    state: dict[str, Any] = torch.load(path, map_location=device(), weights_only=True)
    return state
