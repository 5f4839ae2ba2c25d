"""Cells trained under the same conditions on one text, in memory, for comparison."""

from __future__ import annotations

import bisect
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from chargen.config import TrainConfig
from chargen.data.batches import fit_batches
from chargen.data.dataset import Dataset
from chargen.data.text_batches import batches_of
from chargen.evaluation.validation import score_streams
from chargen.model.language_model import LanguageModel
from chargen.model.spec import LayerConfig, ModelConfig, count_parameters
from chargen.training.learner import Learner

WIDTH = 256  # units of the reference LSTM; all cells get its number of parameters
EMBEDDING = 64
WIDEST = 4096
SCORED = 1 << 15  # tokens
PARTS = 1000  # into which the progress is divided


@dataclass(frozen=True)
class TrainedCell:
    """A one-layer model after its training.

    Attributes:
        config: the architecture.
        model: the model with the averaged weights.
        loss: validation loss in nats per token.
        steps: optimizer steps taken.
        skipped: steps skipped because their gradient was not finite.
        largest: the largest finite gradient norm before clipping; None without steps.
    """

    config: ModelConfig
    model: LanguageModel
    loss: float
    steps: int
    skipped: int
    largest: float | None


def fitted(kind: str, vocab_size: int) -> ModelConfig:
    """Return a one-layer model with the number of parameters closest to LSTM 1 x ``WIDTH``."""
    wanted = count_parameters(_one_layer("lstm", WIDTH, vocab_size))

    def parameters(width: int) -> int:
        return count_parameters(_one_layer(kind, width, vocab_size))

    widths = range(1, WIDEST)
    above = bisect.bisect_left(widths, wanted, key=parameters)  # grows with the width
    near = widths[max(0, above - 1) : above + 1]
    width = min(near, key=lambda width: abs(parameters(width) - wanted))
    return _one_layer(kind, width, vocab_size)


def _one_layer(kind: str, width: int, vocab_size: int) -> ModelConfig:
    return ModelConfig(vocab_size, (LayerConfig(kind, width),), EMBEDDING)


def train_alike(
    kind: str, dataset: Dataset, recipe: TrainConfig, progress: Callable[[int], None]
) -> TrainedCell:
    """Train one cell on a CPU, in float32, for the time or the steps of the recipe.

    Args:
        kind: name of the cell.
        dataset: the text, with at least one token for validation.
        recipe: the recipe of all cells, with a time or a number of steps, and the seed.
        progress: called before each step with the number of ``PARTS`` that are done.
    """
    config = fitted(kind, dataset.tokenizer.vocab_size)
    sizes = fit_batches(len(dataset.train), recipe.batch_size, recipe.bptt)
    batches = batches_of(dataset, *sizes, recipe.seed)
    learner = Learner(config, recipe, sizes[0], torch.device("cpu"))
    began, tried, largest = time.monotonic(), 0, None
    while (done := _fraction_done(recipe, tried, time.monotonic() - began)) < 1:
        progress(int(PARTS * done))
        learner.learn(batches.batch(tried), done, "float32")
        tried += 1
        if math.isfinite(learner.norm):
            largest = max(largest or 0.0, learner.norm)
    loss = score_streams(learner.averaged, dataset.validation, SCORED).nats_per_token
    skipped = tried - learner.steps
    return TrainedCell(config, learner.averaged, loss, learner.steps, skipped, largest)


def _fraction_done(recipe: TrainConfig, tried: int, seconds: float) -> float:
    """Return the fraction of the time, or of the steps, that is over."""
    if recipe.time is not None:
        return seconds / recipe.time
    return tried / recipe.steps if recipe.steps else 1.0
