"""Plan of a run: what follows from the speed of this machine, once, before the first step.

A plan is written into the run's files. Seed and plan together make a run repeatable, and a
resumed run follows the plan it was begun with.
"""

from __future__ import annotations

import functools
import math
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from chargen.config import MOST_THREADS, PRECISIONS, TrainConfig, require
from chargen.data.batches import Batch, fit_batches
from chargen.data.dataset import WARM, Dataset
from chargen.data.text_batches import batches_of
from chargen.engine import Engine
from chargen.evaluation.final import QUANTISED, SEEN
from chargen.evaluation.groups import STREAMS
from chargen.evaluation.mixing import FITTED
from chargen.evaluation.protocols import SCORED, stateful
from chargen.evaluation.validation import engine_of, score_streams
from chargen.machine import OtherLoad
from chargen.machine.torch import autocast, can_run, runnable
from chargen.model.language_model import LanguageModel
from chargen.model.spec import ModelConfig
from chargen.training.learner import Learner

EVALUATION_SHARE = 0.05  # of the time
PROBE_STEPS = 3
RESERVE = 1.2  # times what the end of a run is expected to take: others may need the machine too
FITTING = 1.3  # times what reading its places takes: the fit of the mixture with n-gram counts
JUDGING, JUDGING_FRACTION = 30.0, 0.05  # seconds, and fraction of the time, for labels at the end
SAVING = 0.6  # seconds kept for writing the last files and leaving Python
READ = 128  # tokens that are read to time an engine
CALM = 0.2  # cores' worth of work that others may do while a machine counts as idle
LIMITS = {"batch_size": 4096, "bptt": 65536, "evaluate_every": 1 << 62}


@dataclass(frozen=True)
class Plan:
    """The machine-dependent choices of a run.

    Attributes:
        precision: ``float32`` or ``bfloat16``.
        threads: numbers of CPU threads to choose from while the run goes on, each with the
            seconds of a step when it was measured; one alone is kept.
        batch_size: streams of text (B), as many as the dataset fills.
        bptt: steps of a batch (T), as many as the dataset allows.
        schedule: quadruples (step, steps in all, fraction of the run over, CPU threads), each in
            force from its step on.
        evaluate_every: steps between two evaluations.
        evaluation_tokens: tokens that an evaluation during training scores; None for all.
        ending: seconds that the end of the run is expected to take: reading twice the
            validation part and one over as much of the training part.
    """

    precision: str
    threads: tuple[tuple[int, float], ...]
    batch_size: int
    bptt: int
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
        return self.steps * self.batch_size * self.bptt

    def progress(self, step: int) -> float:
        """Return the fraction of the run that is over at a step: 0 at the start, 1 at the end."""
        begin, steps, fraction, _ = self._part(step)
        return min(1.0, fraction + (1 - fraction) * (step - begin) / max(1, steps - begin))

    def threads_at(self, step: int) -> int:
        """Return the CPU threads in force at a step."""
        return self._part(step)[3]

    def _part(self, step: int) -> tuple[int, int, float, int]:
        return [part for part in self.schedule if part[0] <= step][-1]

    def replanned(self, step: int, steps: int) -> Plan:
        """Return the plan with another number of steps in all, from this step on.

        The fraction goes on from where it is and reaches 1 at the new end, so that the learning
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
            step, steps, fraction, threads = part
            fits = all(isinstance(n, int) for n in (step, steps, threads)) and 0 <= fraction <= 1
            fits = fits and 0 <= step <= steps and 1 <= threads <= MOST_THREADS
            require(fits, "schedule", part, "steps in order")
        require(len(plan.schedule) > 0, "schedule", (), "one part at least")
        for threads, seconds in plan.threads:
            fits = isinstance(threads, int) and 1 <= threads <= MOST_THREADS and seconds >= 0
            require(fits, "threads", (threads, seconds), f"1 to {MOST_THREADS}, and seconds")
        require(len(plan.threads) > 0, "threads", (), "one number at least")
        return plan


@dataclass(frozen=True)
class ReadingTime:
    """Seconds that a model takes to read a token.

    Attributes:
        streams: in the streams of an evaluation.
        stateful: in one pass, many tokens a call.
        single: one token a call, as when it generates.
    """

    streams: float = 0.0
    stateful: float = 0.0
    single: float = 0.0


@dataclass(frozen=True)
class Timing:
    """Seconds that a model takes on this machine, in the faster precision.

    Attributes:
        precision: ``float32`` or ``bfloat16``.
        steps: seconds of a step of training, by number of threads.
        reading: a token that is read.
        speedup: by which bfloat16 is faster than float32, where both were tried.
    """

    precision: str
    steps: dict[int, float]
    reading: ReadingTime
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
    timing: Timing,
    config: TrainConfig,
    dataset: Dataset,
    time_left: float | None,
    processes: int = 1,
) -> Plan:
    """Plan a run of a model from its timing.

    Args:
        timing: what ``measure`` found.
        config: the recipe and the budget.
        dataset: what will be learned.
        time_left: seconds left of the time budget, if there is one.
        processes: how many share the batch.
    """
    batch_size, bptt = _batch(config, dataset, processes)
    ending = ending_seconds(timing.reading, dataset, config.time)
    left = None if time_left is None else time_left - ending
    per_epoch = batches_of(dataset, batch_size, bptt, processes=processes).steps_per_epoch
    steps = budget_steps(config, timing.step, left, per_epoch)
    every, limit = _evaluations(steps, timing, len(dataset.validation))
    schedule = ((0, steps, 0.0, timing.threads),)
    threads = tuple(timing.steps.items())
    return Plan(timing.precision, threads, batch_size, bptt, schedule, every, limit, ending)


def ending_seconds(reading: ReadingTime, dataset: Dataset, budget: float | None) -> float:
    """Return the seconds that the end of a run takes (``evaluation.final``).

    Args:
        reading: how fast the model reads.
        dataset: the text.
        budget: seconds of the whole run, if there is a limit.
    """
    tokens, test = (min(len(part), SCORED) for part in (dataset.validation, dataset.test))
    seconds = reading.stateful * (tokens + test)
    seconds += reading.streams * (tokens + min(tokens, SEEN))
    seconds += FITTING * reading.stateful * min(tokens, FITTED)
    seconds += 2 * reading.single * min(tokens, QUANTISED + WARM)
    return SAVING + RESERVE * seconds + (judging_seconds(budget) if dataset.labels else 0.0)


def judging_seconds(budget: float | None) -> float:
    """Return the seconds in which held-out labels are told at the end of a run, at most."""
    return JUDGING if budget is None else min(JUDGING, JUDGING_FRACTION * budget)


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


def _evaluations(steps: int, timing: Timing, tokens: int) -> tuple[int, int | None]:
    """Return how often to evaluate, and on how many tokens, within the fraction of the time.

    Six evaluations on part of the validation text, or up to ten on all of it; in long runs
    one a minute.
    """
    most = max(10, int(steps * timing.step / 60))
    if not tokens:
        return math.ceil(steps / most), None
    budget = steps * timing.step * EVALUATION_SHARE
    affordable = max(STREAMS * 64, int(budget / 6 / timing.reading.streams))
    each = min(tokens, affordable) * timing.reading.streams
    count = max(2, min(most, int(budget / each)))
    return max(1, math.ceil(steps / count)), affordable if affordable < tokens else None


def _batch(config: TrainConfig, dataset: Dataset, processes: int) -> tuple[int, int]:
    """Return batch size and steps that the text fills, the former a multiple of the processes."""
    batch_size, bptt = fit_batches(len(dataset.train), config.batch_size, config.bptt)
    if batch_size < config.batch_size:
        batch_size = max(processes, batch_size // processes * processes)
    return batch_size, bptt


def measure(
    model: ModelConfig,
    config: TrainConfig,
    dataset: Dataset,
    device: torch.device,
    threads: tuple[int, ...],
    processes: int = 1,
) -> Timing:
    """Time a few steps and evaluations of a throw-away copy of a model.

    The precision is the faster one that runs here; steps are timed with each number of threads.
    Where one thread does best although nobody else needs a core, only that is kept.

    Args:
        model: the architecture.
        config: the recipe and the budget.
        dataset: what will be learned.
        device: where.
        threads: numbers of CPU threads to choose from, the largest first.
        processes: how many share the batch: a step is that of one process.
    """
    load, (batch_size, bptt) = OtherLoad(), _batch(config, dataset, processes)
    learner = Learner(model, config, batch_size // processes, device)
    batches = batches_of(dataset, batch_size // processes, bptt)
    probe = [batches.batch(step) for step in range(PROBE_STEPS)]
    torch.set_num_threads(threads[0])
    seconds = {p: _step_seconds(learner, probe, p) for p in _precisions(config, device)}
    precision = min(seconds, key=lambda p: seconds[p])
    speedup = seconds["float32"] / seconds["bfloat16"] if len(seconds) > 1 else None
    steps = {threads[0]: seconds[precision]}
    for count in threads[1:]:
        torch.set_num_threads(count)
        steps[count] = _step_seconds(learner, probe, precision)
    fastest = Timing(precision, steps, ReadingTime()).threads
    if fastest == 1 and load.cores() < CALM:
        steps = {1: steps[1]}
    torch.set_num_threads(fastest)
    with autocast(learner.device, precision):
        return Timing(precision, steps, measure_reading(learner.model, dataset), speedup)


def _precisions(config: TrainConfig, device: torch.device) -> list[str]:
    """Return the precisions to try: those that run here, or the one asked for."""
    if config.precision == "auto":
        return [p for p in PRECISIONS[1:] if can_run(p, device)]
    return [runnable(config.precision, device)]


def measure_reading(model: LanguageModel, dataset: Dataset) -> ReadingTime:
    """Time how fast a model reads a little of the validation part.

    Args:
        model: as it is now; the caller sets its precision.
        dataset: the text.
    """
    if not len(dataset.validation):
        return ReadingTime()
    score = functools.partial(score_streams, model, dataset.validation, STREAMS * 64)
    streams = _median_seconds([score] * PROBE_STEPS)
    engine = engine_of(model)
    time_engine(engine, dataset)  # the first time it also allocates
    return time_engine(engine, dataset, streams / tokens_read(STREAMS * 64))


def tokens_read(scored: int) -> int:
    """Return how many tokens are read when so many are scored in streams, each warmed."""
    return scored + STREAMS * WARM


def time_engine(engine: Engine, dataset: Dataset, streams: float = 0.0) -> ReadingTime:
    """Time an engine once on a little of the validation part.

    Args:
        engine: of the model.
        dataset: the text.
        streams: seconds that a token takes in streams, known already.
    """
    probe = dataset.validation.first(READ)
    began = time.perf_counter()
    stateful(engine, probe)
    between = time.perf_counter()
    stateful(engine, replace(probe, context=probe.context[-1:]), most=1)
    single = (time.perf_counter() - between) / len(probe)
    return ReadingTime(streams, (between - began) / len(probe.with_context), single)


def _step_seconds(learner: Learner, probe: list[Batch], precision: str) -> float:
    learner.learn(_begun(probe[0]), 0.0, precision)  # the first one also allocates
    return _median_seconds(
        [functools.partial(learner.learn, _begun(batch), 0.0, precision) for batch in probe]
    )


def _begun(batch: Batch) -> Batch:
    """Return a batch from the initial state: those of texts have different sizes."""
    return batch._replace(begins=True)


def _median_seconds(works: Iterable[Callable[[], object]]) -> float:
    times = []
    for work in works:
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)
