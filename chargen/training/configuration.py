"""Automatic configuration: model and recipe for those who gave no numbers, with the reasons.

Rules from measurements on several texts (``docs/training.md``):

*Model.* The larger a model, the better it can get and the slower it gets there. Of the
candidates, in order of size, the last one is taken that still reads enough tokens per recurrent
weight within the budget, at the speed measured here; more than 512 units pay late.

*Embedding.* The more different tokens there are, the wider.

*Dropout.* The more often the same text is read, the more must be dropped, of units and in the end
of recurrent weights, so that the model learns the language and not the text.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import numpy as np
import torch

from chargen.config import TrainConfig
from chargen.data.dataset import Dataset
from chargen.machine.torch import can_run, not_available
from chargen.model.ngrams import NGramConfig
from chargen.model.spec import LayerConfig, ModelConfig, count_parameters
from chargen.tokenizers import Ids
from chargen.training.optimizer import peak_learning_rate
from chargen.training.plan import Plan, Timing, make_plan, measure

ENOUGH, ENOUGH_WIDE = 1.2, 3.0  # tokens to be read per recurrent weight; by wide models
WIDE = 512  # hidden units
PROBING = 0.1  # of the time may go into measuring
FEW_EPOCHS = 2.5  # n-gram embeddings help up to these; a base learns up to these at its full rate
NGRAM_SAMPLE = 1 << 21  # tokens of which the n-grams are looked at
RETURNING = 0.1  # different n-grams of a token of the text, at most, for an order to be used
MOST_AUTOMATIC = 6  # order
LEAST_TABLE, USUAL_TABLE, MOST_TABLE = 1 << 8, 1 << 14, 1 << 16  # rows
FINE_TUNING_RATE, FINE_TUNING_EPOCHS = 0.25, 6.0  # of the usual learning rate; at most
FINE_TUNING_DROPOUT, FINE_TUNING_NGRAMS = 0.3, 0.5  # of units, of rows of n-grams
TOO_LARGE = 0.5  # of enough: a candidate expected below this is not even measured


@dataclass(frozen=True)
class Trial:
    """A model measured on this machine, with the plan it would get.

    Attributes:
        model: the architecture.
        timing: what it needs here.
        plan: what the budget allows.
    """

    model: ModelConfig
    timing: Timing
    plan: Plan

    @property
    def weights(self) -> int:
        """Number of weights of the recurrent layers."""
        vocabulary = self.model.vocab_size * (self.model.embedding + self.model.head_inputs + 1)
        alone = replace(self.model, ngrams=None)
        return count_parameters(alone) - vocabulary

    @property
    def tokens_per_parameter(self) -> float:
        """Tokens that it reads within the budget, per recurrent weight."""
        return self.plan.tokens / self.weights

    @property
    def fraction_of_enough(self) -> float:
        """Tokens that it reads as a fraction of those that it needs."""
        wide = max(layer.hidden for layer in self.model.layers) > WIDE
        return self.tokens_per_parameter / (ENOUGH_WIDE if wide else ENOUGH)


@dataclass(frozen=True)
class Choice:
    """What is going to be trained, and why.

    Attributes:
        model: the architecture.
        config: the recipe with nothing left open.
        plan: the plan of the run.
        reasons: why, in words, by ``model``, ``recipe`` and ``plan``.
    """

    model: ModelConfig
    config: TrainConfig
    plan: Plan
    reasons: dict[str, str]


def choose(
    stacks: tuple[tuple[LayerConfig, ...], ...],
    *,
    embedding: int | None,
    ngrams: NGramConfig | None,
    keep_ngrams: bool,
    config: TrainConfig,
    dataset: Dataset,
    device: torch.device,
    threads: tuple[int, ...],
    ends: float | None,
    processes: int = 1,
    fine_tuning: bool = False,
) -> Choice:
    """Measure candidates on this machine, take one, and fill in the recipe.

    Args:
        stacks: the candidates, smaller ones first; one alone is taken as it is.
        embedding: width of the token embedding; None for one that suits the vocabulary.
        ngrams: tables of n-gram embeddings, if any.
        keep_ngrams: keep them however often the text is read.
        config: the recipe as far as it is given.
        dataset: what will be learned.
        device: where.
        threads: numbers of CPU threads to choose from, the largest first.
        ends: the clock (``time.monotonic``) when the time budget is over, if there is one.
        processes: how many share the batch.
        fine_tuning: the weights are trained already.
    """
    began, time_left = time.monotonic(), _seconds_to(ends)
    if fine_tuning and config.steps is None and config.epochs is None:
        config = replace(config, epochs=FINE_TUNING_EPOCHS)  # more only learn the text by heart
    trials: list[Trial] = []
    vocab_size, length = dataset.tokenizer.vocab_size, len(dataset.train)
    embedding = embedding_for(vocab_size) if embedding is None else embedding
    for layers in stacks:
        model = ModelConfig(vocab_size, layers, embedding, ngrams, dataset.labels)
        if trials and _expected(trials[-1], model) < TOO_LARGE:
            break
        timing = measure(model, config, dataset, device, threads, processes)
        plan = make_plan(timing, config, dataset, _seconds_to(ends), processes)
        trials.append(Trial(model, timing, plan))
        too_few = trials[-1].fraction_of_enough < 1
        if too_few or (time_left and time.monotonic() - began > PROBING * time_left):
            break
    chosen = next((t for t in reversed(trials) if t.fraction_of_enough >= 1), trials[0])
    plan = make_plan(chosen.timing, config, dataset, _seconds_to(ends), processes)
    epochs = plan.tokens / length
    model = chosen.model
    if epochs > FEW_EPOCHS and not keep_ngrams:
        model = replace(model, ngrams=None)
    full = fill(config, model, epochs, fine_tuning=fine_tuning)
    why = f"fine-tuning, {epochs:.1f} epochs" if fine_tuning else _why_recipe(config, epochs)
    size = "as the base" if fine_tuning else _why_model(chosen, stacks)
    reasons = {"model": size, "recipe": why}
    reasons["plan"] = _why_plan(chosen.timing, config, device)
    return Choice(model, full, plan, reasons)


def fill(
    config: TrainConfig, model: ModelConfig, epochs: float, *, fine_tuning: bool = False
) -> TrainConfig:
    """Return the recipe with nothing left open.

    Args:
        config: the recipe as far as it is given.
        model: the architecture.
        epochs: how often the text is read.
        fine_tuning: the weights are trained already: they need smaller steps, and rows of n-grams
            that the text touches are dropped however short the run is.
    """
    rate = peak_learning_rate(config, model.layers)
    if fine_tuning and config.learning_rate is None:
        rate *= FINE_TUNING_RATE * min(1.0, math.sqrt(FEW_EPOCHS / epochs))
    dropout = FINE_TUNING_DROPOUT if fine_tuning else dropout_for(epochs)
    weight_drop = 0.0 if fine_tuning else weight_drop_for(epochs)
    ngram_dropout = FINE_TUNING_NGRAMS if fine_tuning else ngram_dropout_for(epochs)
    return replace(
        config,
        dropout=dropout if config.dropout is None else config.dropout,
        weight_drop=weight_drop if config.weight_drop is None else config.weight_drop,
        ngram_dropout=ngram_dropout
        if model.ngrams and config.ngram_dropout is None
        else config.ngram_dropout,
        learning_rate=rate,
    )


def dropout_for(epochs: float) -> float:
    """Return the dropout that suits so many epochs."""
    return round(min(0.65, max(0.1, 0.16 * math.log2(max(1.0, epochs)) - 0.19)), 2)


def weight_drop_for(epochs: float) -> float:
    """Return the dropout of recurrent weights that suits so many epochs."""
    return round(min(0.3, max(0.0, 0.1 * math.log2(max(1.0, epochs) / 5))), 2)


def ngram_dropout_for(epochs: float) -> float:
    """Return the dropout of n-gram embeddings that suits so many epochs."""
    return round(min(0.8, max(0.0, 0.21 * math.log2(max(1.0, epochs)))), 2)


def ngram_rows(train: Ids, vocab_size: int, order: int | None = None) -> tuple[int, ...]:
    """Return the rows of the table of each order of n-grams from 2 on, as the text fills them.

    Orders are taken as long as most of their n-grams return: what is seen once teaches nothing.

    Args:
        train: tokens of the training part.
        vocab_size: number of different tokens.
        order: the longest; None for as many as return.
    """
    ids = train[-NGRAM_SAMPLE:].astype(np.int64)
    grams, rows = ids, []
    most = min(MOST_TABLE, max(USUAL_TABLE, len(train) // 32))
    for n in range(2, (order or MOST_AUTOMATIC) + 1):
        _, grams = np.unique(grams[:-1] * vocab_size + ids[n - 1 :], return_inverse=True)
        different = int(grams.max(initial=0)) + 1
        if order is None and different > RETURNING * len(ids):
            break
        rows.append(min(most, max(LEAST_TABLE, 2 * different)) | 1)
    return tuple(rows)


def embedding_for(vocab_size: int) -> int:
    """Return a width of the embedding that suits so many different tokens."""
    return min(512, max(64, 16 * round(4 * math.pow(vocab_size / 100, 0.4))))


def _seconds_to(ends: float | None) -> float | None:
    return None if ends is None else ends - time.monotonic()


def _expected(trial: Trial, model: ModelConfig) -> float:
    """Return the fraction of enough of a larger model, the time of a step as its weights."""
    ratio = Trial(model, trial.timing, trial.plan).weights / trial.weights
    steps = max(1, int(trial.plan.steps / ratio))
    plan = replace(trial.plan, schedule=((0, steps, 0.0, trial.timing.threads),))
    return Trial(model, trial.timing, plan).fraction_of_enough


def _why_model(chosen: Trial, stacks: tuple[tuple[LayerConfig, ...], ...]) -> str:
    if len(stacks) == 1:
        return "as given"
    largest = chosen.model.layers == stacks[-1]
    more = "enough for the largest" if largest else "one size up gets too few"
    return f"{chosen.tokens_per_parameter:.1f} tokens per parameter, {more}"


def _why_recipe(config: TrainConfig, epochs: float) -> str:
    given = config.dropout is not None and config.weight_drop is not None
    return "as given" if given else f"{epochs:.1f} epochs"


def _why_plan(timing: Timing, config: TrainConfig, device: torch.device) -> str:
    if config.precision != "float32" and not can_run("bfloat16", device):
        return not_available("bfloat16", device)
    if timing.speedup is None:
        return "as given"
    return f"{max(timing.speedup, 1 / timing.speedup):.1f} times as fast"
