"""Cells trained alike on one text, in memory, to be looked into side by side."""

from __future__ import annotations

import bisect
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from chargen.config import TrainConfig
from chargen.data.batches import Batches, fit_batches
from chargen.data.dataset import Dataset
from chargen.evaluation.validation import score_streams
from chargen.model.language_model import LanguageModel
from chargen.model.spec import LayerConfig, ModelConfig, count_parameters
from chargen.training.learner import Learner

WIDTH = 256  # units of the LSTM whose number of weights all cells get
EMBEDDING = 64
WIDEST = 4096
SCORED = 1 << 15  # tokens
PARTS = 1000  # of a training, as told on the way


@dataclass(frozen=True)
class Trial:
    """A cell after its training.

    Attributes:
        config: the model: one layer.
        model: the averaged weights.
        loss: on the validation part, in nats per token.
        steps: optimizer steps taken.
        skipped: steps skipped, because their gradient was not finite.
        largest: the largest finite length of a step's gradient, before clipping; None without
            steps.
    """

    config: ModelConfig
    model: LanguageModel
    loss: float
    steps: int
    skipped: int
    largest: float | None


def fitted(kind: str, vocab_size: int) -> ModelConfig:
    """Return a model of one layer with as nearly as can be the weights of LSTM 1 x ``WIDTH``."""
    wanted = count_parameters(_one_layer("lstm", WIDTH, vocab_size))

    def weights(width: int) -> int:
        return count_parameters(_one_layer(kind, width, vocab_size))

    widths = range(1, WIDEST)
    above = bisect.bisect_left(widths, wanted, key=weights)  # they grow with the width
    near = widths[max(0, above - 1) : above + 1]
    return _one_layer(kind, min(near, key=lambda width: abs(weights(width) - wanted)), vocab_size)


def _one_layer(kind: str, width: int, vocab_size: int) -> ModelConfig:
    return ModelConfig(vocab_size, (LayerConfig(kind, width),), EMBEDDING)


def train_alike(
    kind: str, dataset: Dataset, recipe: TrainConfig, progress: Callable[[int], None]
) -> Trial:
    """Train one cell on a CPU, in float32, for the time or the steps of the recipe.

    Args:
        kind: of the cell.
        dataset: the text; at least one token is held out.
        recipe: the same for all: its time or its steps, its seed.
        progress: told how many of ``PARTS`` equal parts are over, before each step.
    """
    config = fitted(kind, dataset.tokenizer.vocab_size)
    sizes = fit_batches(len(dataset.train), recipe.batch_size, recipe.bptt)
    batches = Batches.of(dataset, *sizes, recipe.seed)
    learner = Learner(config, recipe, sizes[0], torch.device("cpu"))
    began, tried, largest = time.monotonic(), 0, None
    while (share := _share(recipe, tried, time.monotonic() - began)) < 1:
        progress(int(PARTS * share))
        learner.learn(batches.batch(tried), share, "float32")
        tried += 1
        if math.isfinite(learner.norm):
            largest = max(largest or 0.0, learner.norm)
    loss = score_streams(learner.averaged, dataset.validation, SCORED).nats_per_token
    return Trial(config, learner.averaged, loss, learner.steps, tried - learner.steps, largest)


def _share(recipe: TrainConfig, tried: int, seconds: float) -> float:
    """Return how much of the time, or of the steps, is over."""
    if recipe.time is not None:
        return seconds / recipe.time
    return tried / recipe.steps if recipe.steps else 1.0
