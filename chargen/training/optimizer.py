"""Learning-rate schedule, optimizer and dropout."""

from __future__ import annotations

import contextlib
import inspect
import math
from collections.abc import Iterable, Iterator
from typing import TypeVar

import torch
from torch import nn

from chargen.config import TrainConfig
from chargen.model.spec import LayerConfig
from chargen.training.processes import ALONE, ProcessGroup

# Learning rates of the table of cells are for AdamW; these factors make them those of the others.
OPTIMIZER_FACTOR = {"adamw": 1.0, "adam": 1.0, "rmsprop": 0.25, "sgd": 100.0}


def peak_learning_rate(config: TrainConfig, layers: tuple[LayerConfig, ...]) -> float:
    """Return the learning rate asked for, or the one that suits the most sensitive cell."""
    if config.learning_rate is not None:
        return config.learning_rate
    return min(layer.spec.learning_rate for layer in layers) * OPTIMIZER_FACTOR[config.optimizer]


def learning_rate(progress: float, peak: float, warmup: float) -> float:
    """Return the learning rate at a fraction of the run: a linear rise, then half a cosine to 0."""
    if progress < warmup:
        return peak * progress / warmup
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
            return _plain(torch.optim.AdamW)(groups, betas=(0.9, 0.99), fused=True)
        case "adam":
            return _plain(torch.optim.Adam)(every, betas=(0.9, 0.99), fused=True)
        case "rmsprop":
            return _plain(torch.optim.RMSprop)(every, alpha=0.95)
        case _:
            return _plain(torch.optim.SGD)(every, lr=1.0, momentum=0.9)


Optimizer = TypeVar("Optimizer", bound=torch.optim.Optimizer)


def _plain(kind: type[Optimizer]) -> type[Optimizer]:
    """Return a class of optimizer that does not import torch's compiler.

    torch wraps these methods so that its compiler leaves them alone, and imports it for that:
    1.5 s at the start of each run, and we never compile.
    """
    names = ("add_param_group", "state_dict", "load_state_dict", "zero_grad", "step")
    methods = {name: inspect.unwrap(getattr(kind, name)) for name in names}
    methods["step"] = torch.no_grad()(methods["step"])
    return type(kind.__name__, (kind,), methods)


class LockedDropout:
    """Drops the same units at every step of a batch (Gal and Ghahramani 2016).

    The masks come from the run's own generator, so that a resumed run drops the same units.
    They are sampled for the whole batch, so that several processes drop what one would.

    Args:
        config: the recipe, with the rates of units and of rows of n-grams.
        generator: random generator of the masks.
        group: the processes that share each batch.
    """

    def __init__(
        self, config: TrainConfig, generator: torch.Generator, group: ProcessGroup = ALONE
    ) -> None:
        self._units, self._rows = config.dropout or 0.0, config.ngram_dropout or 0.0
        self._generator, self._group = generator, group

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return the own rows' x (B, T, H) with units dropped, the others scaled up."""
        if self._units == 0:
            return x
        kept = self._chance((len(x), 1, x.shape[2]), x.device) >= self._units
        return x * (kept.to(x.dtype) / (1 - self._units))  # (B, 1, H)

    def rows(self, rows: torch.Tensor) -> tuple[torch.Tensor, float]:
        """Return which own rows (B, T, K) of n-grams are kept, and the factor on their sum."""
        kept = self._chance(rows.shape, rows.device) >= self._rows
        return kept, 1 / (1 - self._rows)

    def _chance(self, shape: tuple[int, ...], device: torch.device) -> torch.Tensor:
        """Return the own rows of numbers between 0 and 1, sampled for the whole batch."""
        rows = shape[0] * self._group.size
        whole = torch.rand((rows, *shape[1:]), generator=self._generator, device=device)
        return whole[self._group.share(rows)]


@contextlib.contextmanager
def dropped_weights(
    weights: Iterable[nn.Parameter], rate: float, generator: torch.Generator
) -> Iterator[None]:
    """Drop weights inside of the context: DropConnect (Wan et al. 2013; Merity et al. 2018).

    The others are scaled up to keep the mean. Gradients computed inside become those of the
    whole weights, which are put back at the end.

    Args:
        weights: the recurrent matrices.
        rate: probability of dropping a weight, in whole 256ths.
        generator: random generator of the masks.
    """
    kept = []
    for weight in weights if rate else ():
        factor = _factors(weight, rate, generator)
        kept.append((weight, weight.detach().clone(), factor))
        weight.data.mul_(factor)
    try:
        yield
    finally:
        for weight, whole, factor in kept:
            weight.data.copy_(whole)
            if weight.grad is not None:
                weight.grad.mul_(factor)


def _factors(weight: torch.Tensor, rate: float, generator: torch.Generator) -> torch.Tensor:
    """Return 0 for dropped weights, for others the factor that keeps the mean; a byte each."""
    words = torch.empty(weight.numel() // 8 + 1, dtype=torch.int64, device=weight.device)
    words.random_(-(1 << 63), None, generator=generator)
    chance = words.view(torch.uint8)[: weight.numel()].view_as(weight)
    dropped = round(rate * 256)
    return (chance >= dropped).to(weight.dtype) * (256 / (256 - dropped))
