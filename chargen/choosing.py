"""Which model and which recipe: chosen for those who gave no numbers, with the reasons.

Two rules, from measurements on several texts (``docs/training.md``):

*Model.* The larger a model, the better it can get and the slower it gets there. Of the
candidates, in order of size, the last one is taken that still reads ``ENOUGH`` tokens per
weight within the budget, at the speed measured here.

*Dropout.* The more often the same text is read, the more must be dropped, of units and in the end
of recurrent weights, so that the model learns the language and not the text.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import torch

from chargen.checkpoint import count_weights
from chargen.config import LayerConfig, ModelConfig, TrainConfig
from chargen.corpus import Corpus
from chargen.planning import Costs, Plan, make_plan, measure

ENOUGH = 0.75  # tokens read per weight
PROBING = 0.1  # of the time may go into measuring
HOPELESS = 0.5  # of ENOUGH: a candidate expected below this is not even measured


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
        """Number of weights."""
        return count_weights(self.model)

    @property
    def tokens_per_weight(self) -> float:
        """Tokens that it reads within the budget, per weight."""
        return self.plan.steps * self.plan.lanes * self.plan.window / self.weights


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
    embedding: int,
    config: TrainConfig,
    corpus: Corpus,
    device: torch.device,
    threads: int,
    time_left: float | None,
    processes: int = 1,
) -> Choice:
    """Measure candidates on this machine, take one, and fill in the recipe.

    Args:
        stacks: the candidates, smaller ones first; one alone is taken as it is.
        embedding: width of the token embedding.
        config: the recipe as far as it is given.
        corpus: what will be learned.
        device: where.
        threads: CPU threads, set already.
        time_left: seconds left of the time budget when this is called, if there is one.
        processes: how many share the lanes.
    """
    began = time.monotonic()
    ends = None if time_left is None else began + time_left
    trials: list[Trial] = []
    for layers in stacks:
        model = ModelConfig(corpus.tokenizer.vocab_size, layers, embedding)
        if trials and _expected(trials[-1], model) < HOPELESS * ENOUGH:
            break
        costs = measure(model, config, corpus, device, processes)
        left = None if ends is None else ends - time.monotonic()
        plan = make_plan(costs, config, corpus, threads, left, processes)
        trials.append(Trial(model, costs, plan))
        too_few = trials[-1].tokens_per_weight < ENOUGH
        if too_few or (time_left and time.monotonic() - began > PROBING * time_left):
            break
    chosen = next((t for t in reversed(trials) if t.tokens_per_weight >= ENOUGH), trials[0])
    left = None if ends is None else ends - time.monotonic()
    plan = make_plan(chosen.costs, config, corpus, threads, left, processes)
    passes = plan.steps * plan.lanes * plan.window / len(corpus.train)
    full = fill(config, chosen.model, passes)
    reasons = {"model": _why_model(chosen, stacks), "recipe": _why_recipe(config, passes)}
    return Choice(chosen.model, full, plan, {**reasons, "plan": _why_plan(chosen.costs)})


def fill(config: TrainConfig, model: ModelConfig, passes: float) -> TrainConfig:
    """Return the recipe with nothing left open."""
    return replace(
        config,
        dropout=dropout_for(passes) if config.dropout is None else config.dropout,
        weight_drop=weight_drop_for(passes) if config.weight_drop is None else config.weight_drop,
        learning_rate=config.peak_learning_rate(model.layers),
    )


def dropout_for(passes: float) -> float:
    """Return the share of units to drop for so many passes over the text."""
    return round(min(0.65, max(0.1, 0.16 * math.log2(max(1.0, passes)) - 0.19)), 2)


def weight_drop_for(passes: float) -> float:
    """Return the share of recurrent weights to drop for so many passes over the text."""
    return round(min(0.3, max(0.0, 0.1 * math.log2(max(1.0, passes) / 5))), 2)


def _expected(trial: Trial, model: ModelConfig) -> float:
    """Return the tokens per weight of a larger model, the time of a step as its weights."""
    larger = Trial(model, trial.costs, trial.plan)
    return trial.tokens_per_weight * (trial.weights / larger.weights) ** 2


def _why_model(chosen: Trial, stacks: tuple[tuple[LayerConfig, ...], ...]) -> str:
    if len(stacks) == 1:
        return "as given"
    largest = chosen.model.layers == stacks[-1]
    more = "enough for the largest" if largest else "one size up gets too few"
    return f"{chosen.tokens_per_weight:.1f} tokens each, {more}"


def _why_recipe(config: TrainConfig, passes: float) -> str:
    given = config.dropout is not None and config.weight_drop is not None
    return "as given" if given else f"the text is read {passes:.1f} times"


def _why_plan(costs: Costs) -> str:
    if costs.speedup is None:
        return "as given"
    return f"{max(costs.speedup, 1 / costs.speedup):.1f} times as fast"
