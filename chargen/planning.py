"""The plan of a run: what is decided by measuring this machine, once, before the first step.

A plan is written into the run's files. Seed and plan together make a run repeatable, and a
resumed run follows the plan it was begun with.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from chargen.config import ModelConfig, TrainConfig
from chargen.corpus import Corpus, Lanes, fit_lanes
from chargen.evaluation import LANES, autocast, score_carried, score_lanes
from chargen.learner import Learner

EVALUATION_SHARE = 0.05  # of the time
PROBE_STEPS = 3
SAVING = 0.3  # seconds kept for writing the last files


@dataclass(frozen=True)
class Plan:
    """The machine-dependent choices of a run.

    Attributes:
        precision: ``float32`` or ``bfloat16``.
        threads: CPU threads.
        lanes: lanes of text (B), as many as the corpus fills.
        window: steps of a window (T), as long as the corpus allows.
        schedule: triples (step, steps in all, share of the run over), each in force from its
            step on.
        evaluate_every: steps between two evaluations.
        evaluation_tokens: tokens that an evaluation during training scores; None for all.
        ending: seconds that the end of the run takes: two passes over the validation part.
    """

    precision: str
    threads: int
    lanes: int
    window: int
    schedule: tuple[tuple[int, int, float], ...]
    evaluate_every: int
    evaluation_tokens: int | None
    ending: float

    @property
    def steps(self) -> int:
        """Number of steps of the run as planned now."""
        return self.schedule[-1][1]

    def progress(self, step: int) -> float:
        """Return the share of the run that is over at a step: 0 at the start, 1 at the end."""
        begin, steps, share = [part for part in self.schedule if part[0] <= step][-1]
        return min(1.0, share + (1 - share) * (step - begin) / max(1, steps - begin))

    def replanned(self, step: int, steps: int) -> Plan:
        """Return the plan with another number of steps in all, from this step on.

        The share goes on from where it is and reaches 1 at the new end, so that the learning
        rate never jumps.
        """
        return replace(self, schedule=(*self.schedule, (step, steps, self.progress(step))))

    def extended(self, step: int, steps: int) -> Plan:
        """Return the plan of a finished run that goes on: the learning rate rises anew."""
        return replace(self, schedule=(*self.schedule, (step, steps, 0.0)))

    def to_json(self) -> dict[str, Any]:
        """Return plain data from which ``from_json`` makes the same plan."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Plan:
        """Read what ``to_json`` wrote."""
        return cls(**{**data, "schedule": tuple(tuple(part) for part in data["schedule"])})


@dataclass(frozen=True)
class Costs:
    """What this machine needs, in seconds."""

    step: float
    evaluation_token: float
    carried_token: float


def make_plan(
    *,
    model: ModelConfig,
    config: TrainConfig,
    corpus: Corpus,
    device: torch.device,
    threads: int,
    time_left: float | None,
) -> Plan:
    """Measure this machine on a throw-away copy of the model, and plan the run.

    Args:
        model: the architecture.
        config: the recipe and the budget.
        corpus: what will be learned.
        device: where.
        threads: CPU threads, set already.
        time_left: seconds left of the time budget when this is called, if there is one.
    """
    lanes, window = fit_lanes(len(corpus.train), config.lanes, config.window)
    began = time.monotonic()
    learner = Learner(model, config, lanes, device)
    precision, costs = _measure(learner, Lanes(corpus.train, lanes, window), corpus)
    ending = (costs.carried_token + costs.evaluation_token) * len(corpus.validation) + SAVING
    if time_left is not None:
        time_left -= time.monotonic() - began + ending
    steps = budget_steps(config, costs.step, time_left, len(corpus.train) / (lanes * window))
    every, tokens = _evaluations(steps, costs, len(corpus.validation))
    return Plan(precision, threads, lanes, window, ((0, steps, 0.0),), every, tokens, ending)


def budget_steps(
    config: TrainConfig,
    step_seconds: float,
    time_left: float | None,
    steps_per_epoch: float,
    done: int = 0,
) -> int:
    """Return the number of steps that the tightest of the budgets still allows, at least 1.

    Args:
        config: the budgets.
        step_seconds: time of a step.
        time_left: seconds left for steps and evaluations; None without a time budget.
        steps_per_epoch: steps in which the training text is read once.
        done: steps taken already.
    """
    limits = []
    if config.steps is not None:
        limits.append(config.steps - done)
    if config.epochs is not None:
        limits.append(math.ceil(config.epochs * steps_per_epoch) - done)
    if time_left is not None:
        limits.append(int(time_left * (1 - EVALUATION_SHARE) / step_seconds))
    return max(1, min(limits))


def _evaluations(steps: int, costs: Costs, tokens: int) -> tuple[int, int | None]:
    """Return how often to evaluate, and on how many tokens, within the share of the time.

    Six evaluations on part of the validation text, or up to ten on all of it; in long runs
    one a minute.
    """
    most = max(10, int(steps * costs.step / 60))
    if not tokens:
        return math.ceil(steps / most), None
    budget = steps * costs.step * EVALUATION_SHARE
    affordable = max(LANES * 64, int(budget / 6 / costs.evaluation_token))
    each = min(tokens, affordable) * costs.evaluation_token
    count = max(2, min(most, int(budget / each)))
    return max(1, math.ceil(steps / count)), affordable if affordable < tokens else None


def _measure(learner: Learner, reader: Lanes, corpus: Corpus) -> tuple[str, Costs]:
    """Return the precision to use and the costs under it."""
    asked = learner.config.precision
    precisions = ["float32", "bfloat16"] if asked == "auto" else [asked]
    seconds = {p: _step_seconds(learner, reader, p) for p in precisions}
    precision = min(seconds, key=lambda p: seconds[p])
    probe = replace(corpus, validation=corpus.validation[:512])
    if not len(probe.validation):
        return precision, Costs(seconds[precision], 0.0, 0.0)
    with autocast(learner.device, precision):
        lane_seconds = _median_seconds(lambda: score_lanes(learner.model, corpus, LANES * 64))
    read = LANES * (64 + 256)  # each lane is warmed on 256 tokens
    carried_seconds = _median_seconds(lambda: score_carried(learner.model, probe))
    passed = len(probe.validation) + len(probe.context)
    return precision, Costs(seconds[precision], lane_seconds / read, carried_seconds / passed)


def _step_seconds(learner: Learner, reader: Lanes, precision: str) -> float:
    inputs, targets = reader.batch(0)
    learner.learn(inputs, targets, 0.0, precision)  # the first one also allocates
    return _median_seconds(lambda: learner.learn(inputs, targets, 0.0, precision))


def _median_seconds(work: Callable[[], object]) -> float:
    times = []
    for _ in range(PROBE_STEPS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)
