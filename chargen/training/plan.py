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

from chargen.config import PRECISIONS, TrainConfig, require
from chargen.data.corpus import WARM, Corpus, Lanes, fit_lanes
from chargen.engine import Engine
from chargen.evaluation.nll import LANES, QUANTISED, SEEN, engine_of, read_singly, score_lanes
from chargen.evaluation.protocols import SCORED, carried
from chargen.machine import OtherLoad
from chargen.machine.torch import autocast, can_run, runnable
from chargen.model.language_model import LanguageModel
from chargen.model.spec import ModelConfig
from chargen.training.learner import Learner

EVALUATION_SHARE = 0.05  # of the time
PROBE_STEPS = 3
RESERVE = 1.05  # times what the end of a run is expected to take
SAVING = 0.6  # seconds kept for writing the last files and leaving Python
READ = 128  # tokens that are read to time an engine
CALM = 0.2  # cores' worth of work that others may do while a machine counts as idle
LIMITS = {"lanes": 4096, "window": 65536, "evaluate_every": 1 << 62}
MOST_THREADS = 4096


@dataclass(frozen=True)
class Plan:
    """The machine-dependent choices of a run.

    Attributes:
        precision: ``float32`` or ``bfloat16``.
        threads: numbers of CPU threads to choose from while the run goes on, each with the
            seconds of a step when it was measured; one alone is kept.
        lanes: lanes of text (B), as many as the corpus fills.
        window: steps of a window (T), as long as the corpus allows.
        schedule: quadruples (step, steps in all, share of the run over, CPU threads), each in
            force from its step on.
        evaluate_every: steps between two evaluations.
        evaluation_tokens: tokens that an evaluation during training scores; None for all.
        ending: seconds that the end of the run is expected to take: two passes over the
            validation part and one over as much of the training part.
    """

    precision: str
    threads: tuple[tuple[int, float], ...]
    lanes: int
    window: int
    schedule: tuple[tuple[int, int, float, int], ...]
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
        begin, steps, share, _ = self._part(step)
        return min(1.0, share + (1 - share) * (step - begin) / max(1, steps - begin))

    def threads_at(self, step: int) -> int:
        """Return the CPU threads in force at a step."""
        return self._part(step)[3]

    def _part(self, step: int) -> tuple[int, int, float, int]:
        return [part for part in self.schedule if part[0] <= step][-1]

    def replanned(self, step: int, steps: int) -> Plan:
        """Return the plan with another number of steps in all, from this step on.

        The share goes on from where it is and reaches 1 at the new end, so that the learning
        rate never jumps.
        """
        return self._from(step, steps, self.progress(step), self.threads_at(step))

    def extended(self, step: int, steps: int) -> Plan:
        """Return the plan of a finished run that goes on: the learning rate rises anew."""
        return self._from(step, steps, 0.0, self.threads_at(step))

    def with_threads(self, step: int, threads: int) -> Plan:
        """Return the plan with another number of CPU threads from this step on."""
        return self._from(step, self.steps, self.progress(step), threads)

    def _from(self, *part: *tuple[int, int, float, int]) -> Plan:
        return replace(self, schedule=(*self.schedule, part))

    def to_json(self) -> dict[str, Any]:
        """Return plain data from which ``from_json`` makes the same plan."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Plan:
        """Read what ``to_json`` wrote.

        Raises:
            ConfigError: it is no plan that ``make_plan`` could have made.
        """
        lists = {name: tuple(map(tuple, data[name])) for name in ("schedule", "threads")}
        plan = cls(**{**data, **lists})
        for name, most in LIMITS.items():
            value = getattr(plan, name)
            require(isinstance(value, int) and 1 <= value <= most, name, value, f"1 to {most}")
        require(plan.precision in PRECISIONS[1:], "precision", plan.precision, PRECISIONS[-1])
        for part in plan.schedule:
            step, steps, share, threads = part
            fits = all(isinstance(n, int) for n in (step, steps, threads)) and 0 <= share <= 1
            fits = fits and 0 <= step <= steps and 1 <= threads <= MOST_THREADS
            require(fits, "schedule", part, "steps in order")
        require(len(plan.schedule) > 0, "schedule", (), "one part at least")
        for threads, seconds in plan.threads:
            fits = isinstance(threads, int) and 1 <= threads <= MOST_THREADS and seconds >= 0
            require(fits, "threads", (threads, seconds), f"1 to {MOST_THREADS}, and seconds")
        require(len(plan.threads) > 0, "threads", (), "one number at least")
        return plan


@dataclass(frozen=True)
class Reading:
    """Seconds that a model takes to read a token.

    Attributes:
        lanes: in the lanes of an evaluation.
        carried: in one pass, many tokens a call.
        single: one token a call, as when it writes.
    """

    lanes: float = 0.0
    carried: float = 0.0
    single: float = 0.0


@dataclass(frozen=True)
class Costs:
    """What a model needs on this machine, in seconds, in the faster precision.

    Attributes:
        precision: ``float32`` or ``bfloat16``.
        steps: seconds of a step of training, by number of threads.
        reading: a token that is read.
        speedup: by which bfloat16 is faster than float32, where both were tried.
    """

    precision: str
    steps: dict[int, float]
    reading: Reading
    speedup: float | None = None

    @property
    def threads(self) -> int:
        """The fastest number of threads."""
        return min(self.steps, key=lambda n: self.steps[n])

    @property
    def step(self) -> float:
        """Seconds of a step of training at the fastest number of threads."""
        return self.steps[self.threads]


def make_plan(
    costs: Costs,
    config: TrainConfig,
    corpus: Corpus,
    time_left: float | None,
    processes: int = 1,
) -> Plan:
    """Plan a run of a model whose costs are known.

    Args:
        costs: what ``measure`` found.
        config: the recipe and the budget.
        corpus: what will be learned.
        time_left: seconds left of the time budget, if there is one.
        processes: how many share the lanes.
    """
    lanes, window = _lanes(config, corpus, processes)
    ending = ending_seconds(costs.reading, corpus)
    left = None if time_left is None else time_left - ending
    steps = budget_steps(config, costs.step, left, len(corpus.train) / (lanes * window))
    every, limit = _evaluations(steps, costs, len(corpus.validation))
    schedule = ((0, steps, 0.0, costs.threads),)
    threads = tuple(costs.steps.items())
    return Plan(costs.precision, threads, lanes, window, schedule, every, limit, ending)


def ending_seconds(reading: Reading, corpus: Corpus) -> float:
    """Return the seconds that the end of a run takes (``evaluation.final_losses``)."""
    ends = corpus.limited(SCORED)
    tokens, seen = len(ends.validation), min(len(ends.validation), SEEN)
    seconds = reading.carried * (tokens + len(ends.test)) + reading.lanes * (tokens + seen)
    return SAVING + RESERVE * (seconds + 2 * reading.single * min(tokens, QUANTISED))


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
    affordable = max(LANES * 64, int(budget / 6 / costs.reading.lanes))
    each = min(tokens, affordable) * costs.reading.lanes
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
    threads: tuple[int, ...],
    processes: int = 1,
) -> Costs:
    """Time a few steps and evaluations of a throw-away copy of a model.

    The precision is the faster one that runs here; steps are timed with each number of threads.
    Where one thread does best although nobody else needs a core, only that is kept.

    Args:
        model: the architecture.
        config: the recipe and the budget.
        corpus: what will be learned.
        device: where.
        threads: numbers of CPU threads to choose from, the largest first.
        processes: how many share the lanes: a step is that of one share.
    """
    load, (lanes, window) = OtherLoad(), _lanes(config, corpus, processes)
    lanes //= processes
    learner, reader = Learner(model, config, lanes, device), Lanes(corpus.train, lanes, window)
    torch.set_num_threads(threads[0])
    seconds = {p: _step_seconds(learner, reader, p) for p in _precisions(config, device)}
    precision = min(seconds, key=lambda p: seconds[p])
    speedup = seconds["float32"] / seconds["bfloat16"] if len(seconds) > 1 else None
    steps = {threads[0]: seconds[precision]}
    for count in threads[1:]:
        torch.set_num_threads(count)
        steps[count] = _step_seconds(learner, reader, precision)
    fastest = Costs(precision, steps, Reading()).threads
    if fastest == 1 and load.cores() < CALM:
        steps = {1: steps[1]}
    torch.set_num_threads(fastest)
    with autocast(learner.device, precision):
        return Costs(precision, steps, measure_reading(learner.model, corpus), speedup)


def _precisions(config: TrainConfig, device: torch.device) -> list[str]:
    """Return the precisions to try: those that run here, or the one asked for."""
    if config.precision == "auto":
        return [p for p in PRECISIONS[1:] if can_run(p, device)]
    return [runnable(config.precision, device)]


def measure_reading(model: LanguageModel, corpus: Corpus) -> Reading:
    """Time how fast a model reads a little of the validation part.

    Args:
        model: as it is now; the caller sets its precision.
        corpus: the text.
    """
    if not len(corpus.validation):
        return Reading()
    lanes = _median_seconds(lambda: score_lanes(model, corpus, LANES * 64))
    engine = engine_of(model)
    time_engine(engine, corpus)  # the first time it also allocates
    return time_engine(engine, corpus, lanes / lanes_read(LANES * 64))


def lanes_read(tokens: int) -> int:
    """Return how many tokens are read when so many are scored in lanes, each warmed."""
    return tokens + LANES * WARM


def time_engine(engine: Engine, corpus: Corpus, lanes: float = 0.0) -> Reading:
    """Time an engine once on a little of the validation part.

    Args:
        engine: of the model.
        corpus: the text.
        lanes: seconds that a token takes in lanes, known already.
    """
    probe = replace(corpus, validation=corpus.validation[:READ])
    tokens = len(probe.validation) + len(probe.context)
    began = time.perf_counter()
    carried(engine, probe)
    between = time.perf_counter()
    read_singly(engine, probe.validation)
    single = (time.perf_counter() - between) / len(probe.validation)
    return Reading(lanes, (between - began) / tokens, single)


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
