"""The plan of a run: what follows from the speed of this machine, once, before the first step.

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

from chargen.config import PRECISIONS, ModelConfig, TrainConfig, require
from chargen.corpus import Corpus, Lanes, fit_lanes
from chargen.evaluation import LANES, QUANTISED, SEEN, engine_of, score_lanes
from chargen.learner import Learner
from chargen.machine.torch import autocast
from chargen.measuring import SCORED, carried

EVALUATION_SHARE = 0.05  # of the time
PROBE_STEPS = 3
AS_WRITTEN = 3  # times a carried token: reading one by one, with float32 and int8 weights
SAVING = 0.3  # seconds kept for writing the last files
LIMITS = {"threads": 4096, "lanes": 4096, "window": 65536, "evaluate_every": 1 << 62}


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
        ending: seconds that the end of the run takes: two passes over the validation part
            and one over as much of the training part.
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

    @property
    def tokens(self) -> int:
        """Number of tokens read in these steps."""
        return self.steps * self.lanes * self.window

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
        """Read what ``to_json`` wrote.

        Raises:
            ConfigError: it is no plan that ``make_plan`` could have made.
        """
        plan = cls(**{**data, "schedule": tuple(tuple(part) for part in data["schedule"])})
        for name, most in LIMITS.items():
            value = getattr(plan, name)
            require(isinstance(value, int) and 1 <= value <= most, name, value, f"1 to {most}")
        require(plan.precision in PRECISIONS[1:], "precision", plan.precision, PRECISIONS[-1])
        for step, steps, share in plan.schedule:
            fits = isinstance(step, int) and isinstance(steps, int) and 0 <= share <= 1
            require(fits and 0 <= step <= steps, "schedule", (step, steps, share), "steps in order")
        require(len(plan.schedule) > 0, "schedule", (), "one part at least")
        return plan


@dataclass(frozen=True)
class Costs:
    """What a model needs on this machine, in seconds, in the faster precision.

    Attributes:
        precision: ``float32`` or ``bfloat16``.
        step: a step of training.
        evaluation_token: a token scored in lanes.
        carried_token: a token scored in one pass.
        speedup: by which bfloat16 is faster than float32, where both were tried.
    """

    precision: str
    step: float
    evaluation_token: float
    carried_token: float
    speedup: float | None = None


def make_plan(
    costs: Costs,
    config: TrainConfig,
    corpus: Corpus,
    threads: int,
    time_left: float | None,
    processes: int = 1,
) -> Plan:
    """Plan a run of a model whose costs are known.

    Args:
        costs: what ``measure`` found.
        config: the recipe and the budget.
        corpus: what will be learned.
        threads: CPU threads.
        time_left: seconds left of the time budget, if there is one.
        processes: how many share the lanes.
    """
    lanes, window = _lanes(config, corpus, processes)
    ends = corpus.limited(SCORED)
    tokens, seen = len(ends.validation), min(len(ends.validation), SEEN)
    ending = costs.carried_token * (tokens + len(ends.test))
    ending += costs.evaluation_token * (tokens + seen) + SAVING
    ending += AS_WRITTEN * costs.carried_token * min(tokens, QUANTISED)
    left = None if time_left is None else time_left - ending
    steps = budget_steps(config, costs.step, left, len(corpus.train) / (lanes * window))
    every, limit = _evaluations(steps, costs, len(corpus.validation))
    schedule = ((0, steps, 0.0),)
    return Plan(costs.precision, threads, lanes, window, schedule, every, limit, ending)


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


def _lanes(config: TrainConfig, corpus: Corpus, processes: int) -> tuple[int, int]:
    """Return lanes and window that the text fills, the lanes a multiple of the processes."""
    lanes, window = fit_lanes(len(corpus.train), config.lanes, config.window)
    if lanes < config.lanes:
        lanes = max(processes, lanes // processes * processes)
    return lanes, window


def measure(
    model: ModelConfig,
    config: TrainConfig,
    corpus: Corpus,
    device: torch.device,
    processes: int = 1,
) -> Costs:
    """Time a few steps and evaluations of a throw-away copy of a model.

    Args:
        model: the architecture.
        config: the recipe and the budget.
        corpus: what will be learned.
        device: where.
        processes: how many share the lanes: a step is that of one share.
    """
    lanes, window = _lanes(config, corpus, processes)
    lanes //= processes
    learner, reader = Learner(model, config, lanes, device), Lanes(corpus.train, lanes, window)
    asked = config.precision
    precisions = ["float32", "bfloat16"] if asked == "auto" else [asked]
    seconds = {p: _step_seconds(learner, reader, p) for p in precisions}
    precision = min(seconds, key=lambda p: seconds[p])
    step = seconds[precision]
    speedup = seconds["float32"] / seconds["bfloat16"] if asked == "auto" else None
    probe = replace(corpus, validation=corpus.validation[:512])
    if not len(probe.validation):
        return Costs(precision, step, 0.0, 0.0, speedup)
    with autocast(learner.device, precision):
        lane_seconds = _median_seconds(lambda: score_lanes(learner.model, corpus, LANES * 64))
    read = LANES * (64 + 256)  # each lane is warmed on 256 tokens
    engine = engine_of(learner.model)
    carried_seconds = _median_seconds(lambda: carried(engine, probe))
    passed = len(probe.validation) + len(probe.context)
    return Costs(precision, step, lane_seconds / read, carried_seconds / passed, speedup)


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
