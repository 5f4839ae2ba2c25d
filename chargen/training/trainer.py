"""A sitting of a training run: steps, evaluations, files; it yields events and prints nothing.

What decides the result is in three places: the recipe and the plan (both written into the
files) and the learner (whose tensors are). Saving and showing change nothing, so a run that
is stopped at any step and resumed ends with the same weights as one that never stopped.
"""

from __future__ import annotations

import json
import math
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

import chargen
from chargen.config import SampleConfig
from chargen.data.corpus import Lanes
from chargen.engine import Engine
from chargen.errors import TrainingError
from chargen.evaluation.nll import engine_of, final_losses, score_lanes
from chargen.machine import anonymous_memory
from chargen.machine.pace import Pace
from chargen.machine.torch import autocast
from chargen.model.saved import is_whole, load_weights, save_model
from chargen.sampling.sampler import Sampler
from chargen.storage.checkpoint import METRICS, MODEL, load_resume, read_metrics, save_resume
from chargen.storage.files import append_line, write_whole
from chargen.training.diagnostics import advice, is_hopeless, label, warning
from chargen.training.events import Ended, Evaluated, Event, Progressed, Started, Stopped, Warned
from chargen.training.facts import facts
from chargen.training.learner import Learner
from chargen.training.plan import (
    EVALUATION_SHARE,
    Plan,
    budget_steps,
    ending_seconds,
    lanes_read,
    time_engine,
)
from chargen.training.run_state import Job, Record

SAMPLE_LENGTH = 160  # characters of the sample at each evaluation
SHOW_EVERY = 0.1  # seconds between two progress events
SAVE_EVERY = 60.0  # seconds of work that a crash may cost at most
SAVE_SHARE = 0.02  # of the time may go into saving
ROLLBACKS = 3  # times that a run whose loss explodes begins again from its last state
EXPLODED = 3.0  # times the loss of a model that knows nothing
REPLAN = 0.02  # a change of the remaining steps that is worth planning anew


class Trainer:
    """One sitting of a run.

    Args:
        job: what to train, from its beginning or from where it was left.
        began: the clock (``time.monotonic``) when the process began, for the time budget.
        stop: asked before each step; True saves and ends the sitting.
    """

    def __init__(self, job: Job, began: float, stop: Callable[[], bool]) -> None:
        self.job, self.plan, self.record = job, job.plan, job.record
        self._stop, self._began, self._seconds_before = stop, began, job.record.seconds
        self._shown = self._saved = began
        self._saving_seconds, self._peak_memory = 0.0, 0
        self._ending = job.plan.ending
        known = {threads: seconds for threads, seconds in job.plan.threads if seconds}
        options = tuple(threads for threads, _ in job.plan.threads)
        self._pace = Pace(options, known, first=job.plan.threads_at(job.step))
        torch.set_num_threads(self._pace.threads)
        self.team = job.team
        self.learner = Learner(job.model, job.config, job.plan.lanes, job.device, job.team)
        if job.weights is not None:
            self.learner.begin_with(job.weights)
        if job.tensors is not None:
            self.learner.restore(job.tensors, job.step)
        self._lanes = Lanes(
            job.corpus.train,
            job.plan.lanes,
            job.plan.window,
            job.corpus.tokenizer.unknown_id,
            job.corpus.unknown_rate,
            job.config.seed,
        )
        self._first = self._mark = (time.monotonic(), job.step)

    @property
    def seconds(self) -> float:
        """Time used, in all sittings."""
        return self._seconds_before + time.monotonic() - self._began

    # -- the run --------------------------------------------------------------------------

    def events(self) -> Iterator[Event]:
        """Train to the end of the plan, or until asked to stop."""
        steps = self.learner.steps, self.plan.steps
        yield Started(self.job.run, facts(self.job), *steps, self.job.floor)
        self.save()
        if self.team.leads:
            self._cut_metrics()
            yield from self._mend()
        self._first = self._mark = (time.monotonic(), self.learner.steps)
        while self.learner.steps < self.plan.steps:
            loss, (stopping, saving, over) = self._learn()
            if not loss < EXPLODED * math.log(self.job.model.vocab_size + 1):
                yield from self._roll_back()
                continue
            self.record.loss_sum += loss
            self.record.loss_count += 1
            yield from self._look(over)
            if stopping and self.learner.steps < self.plan.steps:
                yield self._stopped()
                return
            if saving:
                self.save()
        yield from self._finish()

    def _due(self) -> tuple[bool, bool, bool]:
        """Tell whether to stop, to save, and to end now."""
        pause = min(SAVE_EVERY, 10 + self._saving_seconds / SAVE_SHARE)
        saving = time.monotonic() - self._saved > pause
        return self._stop(), saving, self._overdue()

    def _look(self, last: bool) -> Iterator[Event]:
        """Do what is due after a step."""
        step = self.learner.steps
        if last:
            self.plan = self.plan.replanned(step, step)
        if step % self.plan.evaluate_every == 0 or step >= self.plan.steps:
            yield self._evaluate()
            self._replan()
            yield from self._warn()
        elif time.monotonic() - self._shown > SHOW_EVERY:
            yield self._progress()

    def _warn(self) -> Iterator[Event]:
        """Say what looks wrong, and end a run that can only get worse."""
        history, step = self.record.history, self.learner.steps
        if words := warning(history):
            yield Warned(words)
        if step < self.plan.steps and is_hopeless(history, self.job.config.patience):
            self.plan = self.plan.replanned(step, step)
            yield Warned(f"ended at step {step:,}: it can only get worse (--patience 0 goes on)")

    def _mend(self) -> Iterator[Event]:
        """Make the model file again if it was lost since it was written."""
        if self.record.history and not is_whole(self.job.run / MODEL):
            self.record.best = None
            self._write_model()
            yield Warned(f"{MODEL} was lost or damaged: made again from the averages last saved")

    def _roll_back(self) -> Iterator[Event]:
        """Take back the last state that was saved, and go on from it with half the rate."""
        tensors, header, _ = load_resume(self.job.run)
        rollbacks, rate = self.record.rollbacks + 1, self.learner.peak / 2
        if rollbacks > ROLLBACKS:
            raise TrainingError(
                f"the loss exploded {rollbacks} times, at last at step {self.learner.steps + 1}; "
                f"train again with a lower --learning-rate than {rate:g} "
                "(the model file is from before)"
            )
        self.record = replace(Record(**header["record"]), rollbacks=rollbacks)
        self.plan = Plan.from_json(header["plan"])
        self.job = replace(self.job, config=replace(self.job.config, learning_rate=rate))
        self.learner.restore(tensors, int(header["step"]))
        self.learner.peak = rate
        self.save()
        if self.team.leads:
            self._cut_metrics()
        yield Warned(
            f"the loss exploded: back to step {self.learner.steps:,}, learning rate {rate:g}"
        )

    def _learn(self) -> tuple[float, tuple[bool, ...]]:
        """Take a step; return its loss, and what is due after it."""
        step = self.learner.steps
        self._use_threads(self._pace.threads)
        inputs, targets = self._lanes.batch(step)
        progress, began = self.plan.progress(step), time.perf_counter()
        loss = self.learner.learn(inputs, targets, progress, self.plan.precision)
        self._pace.took(time.perf_counter() - began)
        return self.team.exchange(loss, self._due())

    @property
    def _engine_threads(self) -> int | None:
        """Threads of an engine: one where one trains fastest, else the engine finds out."""
        return 1 if self._pace.threads == 1 else None

    def _use_threads(self, threads: int) -> None:
        """Compute with another number of threads, which changes the last bits of the weights."""
        step = self.learner.steps
        if threads != self.plan.threads_at(step):
            self.plan = self.plan.with_threads(step, threads)
            torch.set_num_threads(threads)

    def _finish(self) -> Iterator[Event]:
        """Score the kept model in one pass and write the last lines."""
        self.save()
        self.team.part()
        if not self.team.leads:
            return
        final = self._final_losses()
        fit, advised = self._judge(final)
        self._write_model(**final)
        self._peak_memory = max(self._peak_memory, anonymous_memory())
        line = {
            "event": "end",
            "steps": self.learner.steps,
            "best_val_loss": self.record.best,
            **final,
            "fit": fit,
            "seconds": round(self.seconds, 3),
            "characters_per_second": round(self._characters_per_second()),
            "peak_memory_bytes": self._peak_memory,
        }
        self._log(line)
        yield Ended(self.job.run, self.job.run / MODEL, line, advised)

    def _final_losses(self) -> dict[str, float | None]:
        """Score the kept model in all protocols."""
        self.learner.averaged.load(load_weights(self.job.run / MODEL))
        model, corpus, budget = self.learner.averaged, self.job.corpus, self.job.config.time
        overdue = lambda: budget is not None and self.seconds > budget  # noqa: E731
        return final_losses(model, corpus, self._engine_threads, overdue)

    def _judge(self, final: dict[str, float | None]) -> tuple[str | None, tuple[str, ...]]:
        """Return how well the model fits, and what to try next."""
        train, val = final["final_train_loss"], final["final_val_loss"]
        if train is None or val is None:
            return None, ()
        kind = label(self.record.history, train, val)
        words = advice(
            kind,
            train_loss=train,
            val_loss=val,
            floor=self.job.floor,
            dropout=self.job.config.dropout or 0.0,
            run=self.job.run.name,
            seconds=self.seconds,
        )
        return kind, tuple(words)

    def _stopped(self) -> Stopped:
        self.save()
        self.team.part()
        if self.team.leads and not (self.job.run / MODEL).exists():
            self._write_model()
        return Stopped(self.job.run, self.learner.steps, self.plan.steps)

    # -- time -----------------------------------------------------------------------------

    def _overdue(self) -> bool:
        """Tell whether the time budget leaves room for nothing but the end."""
        budget = self.job.config.time
        return budget is not None and self.seconds > budget - self._ending

    def _replan(self) -> None:
        """Fit the number of steps to the time left."""
        step, steps = self.learner.steps, self.team.led(self._affordable)
        if abs(steps - self.plan.steps) > REPLAN * (self.plan.steps - step):
            self.plan = self.plan.replanned(step, steps)

    def _affordable(self) -> int:
        """Return the steps in all that fit, at the speed since the last evaluation."""
        now, step = time.monotonic(), self.learner.steps
        speed = (now - self._mark[0]) / max(1, step - self._mark[1])
        self._mark = now, step
        budget = self.job.config.time
        if budget is None or step >= self.plan.steps:
            return self.plan.steps
        left = budget - self.seconds - self._ending
        pure_speed = speed * (1 - EVALUATION_SHARE)  # budget_steps adds evaluation again
        per_epoch = self._lanes.steps_per_epoch
        return step + budget_steps(self.job.config, pure_speed, left, per_epoch, step)

    def _step_seconds(self) -> float:
        """Return the time of a step in this sitting, evaluations included."""
        began, first = self._first
        return (time.monotonic() - began) / max(1, self.learner.steps - first)

    def _characters_per_second(self) -> float:
        tokens = self.plan.lanes * self.plan.window
        corpus = self.job.corpus
        characters = tokens * corpus.characters_per_token
        return characters / max(1e-9, self._step_seconds())

    def _progress(self) -> Progressed:
        self._shown = time.monotonic()
        self._peak_memory = max(self._peak_memory, anonymous_memory())
        left = (self.plan.steps - self.learner.steps) * self._step_seconds() + self._ending
        loss = self.record.train_loss or 0.0
        speed = self._characters_per_second()
        return Progressed(self.learner.steps, self.plan.steps, loss, speed, left)

    # -- evaluation -----------------------------------------------------------------------

    def _evaluate(self) -> Evaluated:
        """Score the averaged weights, and keep them if they are the best so far."""
        record, step = self.record, self.learner.steps
        began = time.perf_counter()
        loss, bits = self.team.led(self._score)
        seconds = time.perf_counter() - began
        best = loss is None or record.best is None or loss < record.best
        train_loss = record.train_loss
        record.history.append((step, train_loss, loss))
        record.loss_sum, record.loss_count = 0.0, 0
        record.best = loss if best else record.best
        sample, steps = "", self.plan.steps
        if self.team.leads:
            if best:
                self._write_model()
            line = {"event": "evaluation", "step": step, "seconds": round(self.seconds, 3)}
            losses = {"train_loss": train_loss, "val_loss": loss, "val_bits_per_char": bits}
            self._log(line | losses)
            engine = engine_of(self.learner.averaged, self._engine_threads)
            sample = self._sample(engine)
            self._look_ahead(engine, seconds)
        return Evaluated(step, steps, self.seconds, train_loss, loss, bits, best, sample)

    def _score(self) -> tuple[float | None, float | None]:
        """Return the validation loss in nats per token and in bits per character."""
        if not len(self.job.corpus.validation):
            return None, None
        with autocast(self.job.device, self.plan.precision):
            limit = self.plan.evaluation_tokens
            score = score_lanes(self.learner.averaged, self.job.corpus, limit)
        return score.nats_per_token, score.bits_per_char

    def _look_ahead(self, engine: Engine, seconds: float) -> None:
        """Learn how long the end of the run will take, at the speed of the machine just now.

        Args:
            engine: of the averaged weights.
            seconds: that their evaluation took.
        """
        corpus = self.job.corpus
        scored = min(len(corpus.validation), self.plan.evaluation_tokens or len(corpus.validation))
        if self.job.config.time is not None and scored:
            reading = time_engine(engine, corpus, seconds / lanes_read(scored))
            self._ending = ending_seconds(reading, corpus) + 2 * self._saving_seconds

    def _sample(self, engine: Engine) -> str:
        """Write a little with the averaged weights."""
        sampler = Sampler(self.job.corpus.tokenizer, engine)
        seed = self.job.config.seed + self.learner.steps
        config = SampleConfig(length=SAMPLE_LENGTH, seed=seed)
        return "".join(sampler.stream(sampler.read(""), config))

    # -- files ----------------------------------------------------------------------------

    def save(self) -> None:
        """Write all that continues the run."""
        began = time.monotonic()
        header = self.job.header() | {
            "plan": self.plan.to_json(),
            "record": {**vars(self.record), "seconds": self.seconds},
            "step": self.learner.steps,
        }
        tensors = self.learner.tensors()
        if self.team.leads:
            save_resume(self.job.run, tensors, header)
        self._saved = time.monotonic()
        self._saving_seconds = self._saved - began

    def _write_model(self, **more: float | None) -> None:
        """Write the averaged weights as the run's model."""
        source = self.job.source
        training = {
            "config": self.job.config.to_json(),
            "corpus": {**source, "sources": [Path(name).name for name in source["sources"]]},
            "plan": self.plan.to_json(),
            "step": self.learner.steps,
            "seconds": round(self.seconds, 3),
            "best_val_loss": self.record.best,
            "history": self.record.history,
            "versions": versions(),
            **more,
        }
        path, weights = self.job.run / MODEL, self.learner.averaged.weights()
        save_model(path, weights, self.job.model, self.job.corpus.tokenizer, training)

    def _log(self, line: dict[str, Any]) -> None:
        append_line(self.job.run / METRICS, json.dumps(line))

    def _cut_metrics(self) -> None:
        """Leave out of ``metrics.jsonl`` what came after the step that the run goes on from."""
        lines = [
            json.dumps(line) + "\n"
            for line in read_metrics(self.job.run)
            if line["event"] == "evaluation" and line["step"] <= self.learner.steps
        ]
        write_whole(self.job.run / METRICS, "".join(lines).encode())


def versions() -> dict[str, str]:
    """Return what the run was made with."""
    return {
        "chargen": chargen.__version__,
        "torch": torch.__version__,
        "onnxruntime": onnxruntime.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
