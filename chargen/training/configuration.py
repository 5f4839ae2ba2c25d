"""Which model and which recipe: chosen for those who gave no numbers, with the reasons.

Rules from measurements on several texts (``docs/training.md``):

*Model.* The larger a model, the better it can get and the slower it gets there. Of the
candidates, in order of size, the last one is taken that still reads enough tokens per recurrent
weight within the budget, at the speed measured here. A second layer pays early, and earlier
still when the text is read again and again; more than 512 units pay late.

*Embedding.* The more different tokens there are, the wider.

*Dropout.* The more often the same text is read, the more must be dropped, of units and in the end
of recurrent weights, so that the model learns the language and not the text.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import torch

from chargen.config import TrainConfig
from chargen.data.corpus import Corpus
from chargen.machine.torch import can_run, not_available
from chargen.model.spec import LayerConfig, ModelConfig, count_parameters
from chargen.training.optimizer import peak_learning_rate
from chargen.training.plan import Costs, Plan, make_plan, measure

# Tokens to be read per recurrent weight; when the text is read several times; by wide models.
ENOUGH, ENOUGH_AGAIN, ENOUGH_WIDE = 0.75, 0.3, 3.0
AGAIN, WIDE = 3.0, 512  # passes over the text; hidden units
PROBING = 0.1  # of the time may go into measuring
HOPELESS = 0.5  # of enough: a candidate expected below this is not even measured


@dataclass(frozen=True)
class Trial:
    """A model measured on this machine, with the plan it would get.

    Attributes:
        model: the architecture.
        costs: what it needs here.
        plan: what the budget allows.
    """

    model: ModelConfig
    costs: Costs
    plan: Plan

    @property
    def weights(self) -> int:
        """Number of weights of the recurrent layers."""
        vocabulary = self.model.vocab_size * (self.model.embedding + self.model.head_inputs + 1)
        return count_parameters(self.model) - vocabulary

    @property
    def tokens_per_weight(self) -> float:
        """Tokens that it reads within the budget, per recurrent weight."""
        return self.plan.tokens / self.weights

    def share_of_enough(self, length: int) -> float:
        """Return the tokens that it reads as a share of those that it needs.

        Args:
            length: tokens of the training part.
        """
        needed = ENOUGH_AGAIN if self.plan.tokens >= AGAIN * length else ENOUGH
        if max(layer.hidden for layer in self.model.layers) > WIDE:
            needed = ENOUGH_WIDE
        return self.tokens_per_weight / needed


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
    config: TrainConfig,
    corpus: Corpus,
    device: torch.device,
    threads: tuple[int, ...],
    time_left: float | None,
    processes: int = 1,
) -> Choice:
    """Measure candidates on this machine, take one, and fill in the recipe.

    Args:
        stacks: the candidates, smaller ones first; one alone is taken as it is.
        embedding: width of the token embedding; None for one that suits the vocabulary.
        config: the recipe as far as it is given.
        corpus: what will be learned.
        device: where.
        threads: numbers of CPU threads to choose from, the largest first.
        time_left: seconds left of the time budget when this is called, if there is one.
        processes: how many share the lanes.
    """
    began = time.monotonic()
    ends = None if time_left is None else began + time_left
    trials: list[Trial] = []
    vocab_size, length = corpus.tokenizer.vocab_size, len(corpus.train)
    embedding = embedding_for(vocab_size) if embedding is None else embedding
    for layers in stacks:
        model = ModelConfig(vocab_size, layers, embedding)
        if trials and _expected(trials[-1], model, length) < HOPELESS:
            break
        costs = measure(model, config, corpus, device, threads, processes)
        left = None if ends is None else ends - time.monotonic()
        plan = make_plan(costs, config, corpus, left, processes)
        trials.append(Trial(model, costs, plan))
        too_few = trials[-1].share_of_enough(length) < 1
        if too_few or (time_left and time.monotonic() - began > PROBING * time_left):
            break
    chosen = next((t for t in reversed(trials) if t.share_of_enough(length) >= 1), trials[0])
    left = None if ends is None else ends - time.monotonic()
    plan = make_plan(chosen.costs, config, corpus, left, processes)
    passes = plan.tokens / length
    full = fill(config, chosen.model, passes)
    reasons = {"model": _why_model(chosen, stacks), "recipe": _why_recipe(config, passes)}
    return Choice(
        chosen.model, full, plan, {**reasons, "plan": _why_plan(chosen.costs, config, device)}
    )


def fill(config: TrainConfig, model: ModelConfig, passes: float) -> TrainConfig:
    """Return the recipe with nothing left open."""
    return replace(
        config,
        dropout=dropout_for(passes) if config.dropout is None else config.dropout,
        weight_drop=weight_drop_for(passes) if config.weight_drop is None else config.weight_drop,
        learning_rate=peak_learning_rate(config, model.layers),
    )


def dropout_for(passes: float) -> float:
    """Return the share of units to drop for so many passes over the text."""
    return round(min(0.65, max(0.1, 0.16 * math.log2(max(1.0, passes)) - 0.19)), 2)


def weight_drop_for(passes: float) -> float:
    """Return the share of recurrent weights to drop for so many passes over the text."""
    return round(min(0.3, max(0.0, 0.1 * math.log2(max(1.0, passes) / 5))), 2)


def embedding_for(vocab_size: int) -> int:
    """Return a width of the embedding that suits so many different tokens."""
    return min(512, max(64, 16 * round(4 * math.pow(vocab_size / 100, 0.4))))


def _expected(trial: Trial, model: ModelConfig, length: int) -> float:
    """Return the share of enough of a larger model, the time of a step as its weights."""
    ratio = Trial(model, trial.costs, trial.plan).weights / trial.weights
    steps = max(1, int(trial.plan.steps / ratio))
    plan = replace(trial.plan, schedule=((0, steps, 0.0, trial.costs.threads),))
    return Trial(model, trial.costs, plan).share_of_enough(length)


def _why_model(chosen: Trial, stacks: tuple[tuple[LayerConfig, ...], ...]) -> str:
    if len(stacks) == 1:
        return "as given"
    largest = chosen.model.layers == stacks[-1]
    more = "enough for the largest" if largest else "one size up gets too few"
    return f"{chosen.tokens_per_weight:.1f} tokens a weight, {more}"


def _why_recipe(config: TrainConfig, passes: float) -> str:
    given = config.dropout is not None and config.weight_drop is not None
    return "as given" if given else f"the text is read {passes:.1f} times"


def _why_plan(costs: Costs, config: TrainConfig, device: torch.device) -> str:
    if config.precision != "float32" and not can_run("bfloat16", device):
        return not_available("bfloat16", device)
    if costs.speedup is None:
        return "as given"
    return f"{max(costs.speedup, 1 / costs.speedup):.1f} times as fast"
