"""The recipe of training: how fast to learn, and with which optimizer."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from chargen.config import TrainConfig


def learning_rate(
    progress: float, peak: float, warmup: float, schedule: str = "cosine"
) -> float:
    """Return the learning rate at a share of the run: a linear rise, then half a cosine to 0."""
    if schedule == "one-cycle":
        warmup = 0.3
    if progress < warmup:
        return peak * progress / warmup
    if schedule == "linear":
        return peak * (1 - progress) / (1 - warmup)
    if schedule == "trapezoid":
        return peak * min(1.0, (1 - progress) / 0.3)
    return peak * 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))


def make_optimizer(
    parameters: Iterable[nn.Parameter], config: TrainConfig
) -> torch.optim.Optimizer:
    """Return the optimizer; only AdamW decays weights, and only matrices."""
    every = list(parameters)
    match config.optimizer:
        case "adamw":
            groups = [
                {"params": [p for p in every if p.dim() > 1], "weight_decay": config.weight_decay},
                {"params": [p for p in every if p.dim() == 1], "weight_decay": 0.0},
            ]
            return torch.optim.AdamW(groups, betas=(0.9, 0.99), fused=True)
        case "adam":
            return torch.optim.Adam(every, betas=(0.9, 0.99), fused=True)
        case "rmsprop":
            return torch.optim.RMSprop(every, alpha=0.95)
        case _:
            return torch.optim.SGD(every, lr=1.0, momentum=0.9)


class LockedDropout:
    """Drops the same units at every step of a window (Gal and Ghahramani 2016).

    The masks come from the run's own generator, so that a resumed run drops the same units.
    """

    def __init__(self, rate: float, generator: torch.Generator) -> None:
        self.rate = rate
        self._generator = generator

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return x (B, T, H) with units dropped, the rest scaled up to keep the mean."""
        if self.rate == 0:
            return x
        shape = (x.shape[0], 1, x.shape[2])
        chance = torch.rand(shape, generator=self._generator, device=x.device)
        mask = (chance >= self.rate).to(x.dtype) / (1 - self.rate)  # (B, 1, H)
        return x * mask

    def rows(self, count: int, like: torch.Tensor) -> torch.Tensor:
        """Return a factor for each of the rows of a table."""
        chance = torch.rand((count, 1), generator=self._generator, device=like.device)
        return (chance >= self.rate).to(like.dtype) / (1 - self.rate)
