"""Training loop of a run: steps, evaluations, files; it yields events and prints nothing.

What decides the result is in three places: the recipe and the plan (both written into the
files) and the learner (its tensors are saved). Saving and showing change nothing, so a run that
is stopped at any step and resumed ends with the same weights as one that never stopped.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import torch

from chargen.errors import TrainingError
from chargen.machine import anonymous_memory
from chargen.model.saved import Mixture
from chargen.training.budget import TimeBudget
from chargen.training.diagnostics import is_hopeless, warning
from chargen.training.evaluator import Evaluator
from chargen.training.events import Ended, Evaluated, Event, Progressed, Started, Stopped, Warned
from chargen.training.facts import facts
from chargen.training.learner import Learner
from chargen.training.memory import enough_memory
from chargen.training.plan import Plan
from chargen.training.run_files import RunFiles
from chargen.training.run_state import Progress, RunState

SHOW_EVERY = 0.1  # seconds between two progress events
SAVE_EVERY = 60.0  # seconds of work that a crash loses at most
SAVE_SHARE = 0.02  # of the time may go into saving
ROLLBACKS = 3  # times that a run goes back to its last state when the loss explodes
EXPLODED = 3.0  # times the loss of a model that knows nothing
REPLAN = 0.02  # a change of the remaining steps that is worth planning anew


class Trainer:
    """One session of a run.

    Args:
        run: what to train, from its beginning or from where it was left.
        began: the clock (``time.monotonic``) when the process began, for the time budget.
        stop: asked before each step; True saves and ends the session.
    """

    def __init__(
        self, run: RunState, began: float, stop: Callable[[], bool] = lambda: False
    ) -> None:
        self.run, self.plan, self.progress, self.group = run, run.plan, run.progress, run.group
        self.files, self._stop = RunFiles(run), stop
        self.budget = TimeBudget(run.config, began, run.progress.seconds, run.plan.ending)
        self._shown = self._saved = began
        self._saving_seconds, self._peak_memory = 0.0, 0
        self._pace = run.pace()
        torch.set_num_threads(self._pace.threads)
        self.learner = Learner(run.model, run.config, run.plan.batch_size, run.device, run.group)
        if run.weights is not None:
            self.learner.begin_with(run.weights)
        if run.tensors is not None:
            self.learner.restore(run.tensors, run.step)
        self.evaluator = Evaluator(run, self.learner.averaged)
        self._batches = run.batches()

    @property
    def step(self) -> int:
        """Optimizer steps taken, in all sessions."""
        return self.learner.steps

    # -- the loop -------------------------------------------------------------------------

    def events(self) -> Iterator[Event]:
        """Train to the end of the plan, or until asked to stop."""
        run, steps = self.run, (self.step, self.plan.steps)
        yield Started(run.folder, facts(run), *steps, run.ngram_baseline, run.notes)
        self.save()
        if self.group.is_main:
            self.files.cut_metrics(self.step)
            yield from self._mend()
        if run.weights is not None:
            yield self._evaluate()  # what is trained already may be the best
        self.budget.start(self.step)
        while self.step < self.plan.steps:
            loss, (stopping, saving, over) = self._learn()
            if not loss < EXPLODED * math.log(run.model.vocab_size + 1):
                yield from self._roll_back()
                continue
            self.progress.add(loss)
            yield from self._after_step(over)
            if stopping and self.step < self.plan.steps:
                yield self.leave()
                return
            if saving:
                self.save()
        yield from self._finish()

    def _learn(self) -> tuple[float, tuple[bool, ...]]:
        """Take a step; return its loss, and what is due after it: to stop, to save, to end."""
        self._use_threads(self._pace.threads)
        batch = self._batches.batch(self.step)
        done, began = self.plan.progress(self.step), time.perf_counter()
        loss = self.learner.learn(batch, done, self.plan.precision)
        self._pace.took(time.perf_counter() - began)
        pause = min(SAVE_EVERY, 10 + self._saving_seconds / SAVE_SHARE)
        saving = time.monotonic() - self._saved > pause
        return self.group.all_reduce(
            loss, (self._stop(), saving, self.budget.leaves_only_the_end())
        )

    def _use_threads(self, threads: int) -> None:
        """Compute with another number of threads, which changes the last bits of the weights."""
        if threads != self.plan.threads_at(self.step):
            self.plan = self.plan.with_threads(self.step, threads)
            torch.set_num_threads(threads)

    def _after_step(self, last: bool) -> Iterator[Event]:
        """Evaluate, plan anew and warn where that is due, or show the progress."""
        if last:
            self._end_here()
        if self.step % self.plan.evaluate_every == 0 or self.step >= self.plan.steps:
            yield self._evaluate()
            self._replan()
            yield from self._warn()
        elif time.monotonic() - self._shown > SHOW_EVERY:
            yield self._progressed()

    def _end_here(self) -> None:
        self.plan = self.plan.replanned(self.step, self.step)

    def _replan(self) -> None:
        """Fit the number of steps to the time left."""
        per_epoch = self._batches.steps_per_epoch
        steps = self.group.on_main(lambda: self.budget.affordable(self.step, self.plan, per_epoch))
        if abs(steps - self.plan.steps) > REPLAN * (self.plan.steps - self.step):
            self.plan = self.plan.replanned(self.step, steps)

    def _warn(self) -> Iterator[Event]:
        """Say what looks wrong, and end a run that can only get worse."""
        history = self.progress.history
        if words := warning(history):
            yield Warned(words)
        if self.step < self.plan.steps and is_hopeless(history, self.run.config.patience):
            self._end_here()
            words = f"ended at step {self.step:,}: it can only get worse (--patience 0 goes on)"
            yield Warned(words)

    def _progressed(self) -> Progressed:
        self._shown = time.monotonic()
        self._peak_memory = max(self._peak_memory, anonymous_memory())
        loss, speed = self.progress.train_loss or 0.0, self._characters_per_second()
        left = self.budget.seconds_left(self.step, self.plan.steps)
        return Progressed(self.step, self.plan.steps, loss, speed, left)

    def _characters_per_second(self) -> float:
        tokens = self.plan.batch_size * self.plan.bptt
        characters = tokens * self.run.dataset.validation.characters_per_token
        return characters / max(1e-9, self.budget.step_seconds(self.step))

    # -- evaluation and end ---------------------------------------------------------------

    def _evaluate(self) -> Evaluated:
        """Score the averaged weights, and keep them if they are the best so far."""
        loss, bits, seconds = self.group.on_main(lambda: self.evaluator.validate(self.plan))
        train_loss, best = self.progress.train_loss, self.progress.note(self.step, loss)
        sample = ""
        if self.group.is_main:
            if best:
                self._write_model()
            line = {"event": "evaluation", "step": self.step}
            losses = {"train_loss": train_loss, "val_loss": loss, "val_bits_per_char": bits}
            self.files.log(line | {"seconds": round(self.budget.seconds, 3)} | losses)
            engine = self.evaluator.engine(self._engine_threads)
            sample = self.evaluator.sample(engine, self.step)
            ending = self.evaluator.ending(engine, self.plan, seconds)
            if ending is not None:
                self.budget.ending = ending + 2 * self._saving_seconds
        now = self.step, self.plan.steps, self.budget.seconds
        return Evaluated(*now, train_loss, loss, bits, best, sample)

    @property
    def _engine_threads(self) -> int | None:
        """Threads of an engine: one where one trains fastest, else the engine finds out."""
        return 1 if self._pace.threads == 1 else None

    def _finish(self) -> Iterator[Event]:
        """Score the kept model in one pass and write the last lines."""
        self.save()
        self.group.barrier()
        if not self.group.is_main:
            return
        self.learner.averaged.load(self.files.model_weights())
        final, mixture = self.evaluator.final(self._engine_threads, self.budget.is_over)
        fit, advised = self.evaluator.judge(self.progress, final, self.budget.seconds)
        self._write_model(mixture, **final)
        self._peak_memory = max(self._peak_memory, anonymous_memory())
        line = {
            "event": "end",
            "steps": self.step,
            "best_val_loss": self.progress.best,
            **final,
            "fit": fit,
            "seconds": round(self.budget.seconds, 3),
            "characters_per_second": round(self._characters_per_second()),
            "peak_memory_bytes": self._peak_memory,
        }
        self.files.log(line)
        yield Ended(self.run.folder, self.files.model, line, advised)

    def leave(self) -> Stopped:
        """Save all, between two steps; a run without a model gets its first one."""
        self.save()
        self.group.barrier()
        if self.group.is_main and not self.files.model.exists():
            self._write_model()
        return Stopped(self.run.folder, self.step, self.plan.steps)

    # -- files ----------------------------------------------------------------------------

    def save(self) -> None:
        """Write all that continues the run."""
        began = time.monotonic()
        tensors = self.learner.tensors()
        if self.group.is_main:
            progress = {**vars(self.progress), "seconds": self.budget.seconds}
            changing = {"step": self.step, "plan": self.plan.to_json(), "progress": progress}
            self.files.save(tensors, changing)
        self._saved = time.monotonic()
        self._saving_seconds = self._saved - began

    def _write_model(self, mixture: Mixture | None = None, **more: Any) -> None:
        """Write the averaged weights as the run's model."""
        changing = {
            "plan": self.plan.to_json(),
            "step": self.step,
            "seconds": round(self.budget.seconds, 3),
            "best_val_loss": self.progress.best,
            "history": self.progress.history,
            **more,
        }
        self.files.write_model(self.learner.averaged.weights(), changing, mixture)

    def _mend(self) -> Iterator[Event]:
        """Make the model file again if it was lost since it was written."""
        if self.progress.history and not self.files.model_is_whole():
            self.progress.best = None
            self._write_model()
            name = self.files.model.name
            yield Warned(f"{name} was lost or damaged: made again from the averages last saved")

    def _roll_back(self) -> Iterator[Event]:
        """Take back the last state that was saved, and go on from it with half the rate."""
        tensors, header, _ = self.files.load()
        rollbacks, rate = self.progress.rollbacks + 1, self.learner.peak / 2
        if rollbacks > ROLLBACKS:
            kept = " (the model file is from before)" * self.files.model.exists()
            raise TrainingError(
                f"the loss exploded {rollbacks} times, at last at step {self.step + 1}; "
                f"train again with a lower --learning-rate than {rate:g}{kept}"
            )
        self.progress = replace(Progress(**header["progress"]), rollbacks=rollbacks)
        self.plan = Plan.from_json(header["plan"])
        config = replace(self.run.config, learning_rate=rate)
        self.run = replace(self.run, config=config)
        self.files = RunFiles(self.run)
        self.learner.restore(tensors, int(header["step"]))
        self.learner.peak = rate
        self.save()
        if self.group.is_main:
            self.files.cut_metrics(self.step)
        yield Warned(f"the loss exploded: back to step {self.step:,}, learning rate {rate:g}")


def session(
    opening: AbstractContextManager[RunState],
    began: float | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Generator[Event, None, None]:
    """Open a run and train it; a session that is left before its end is saved.

    Args:
        opening: what ``start_run`` or ``resume_run`` returned.
        began: the clock (``time.monotonic``) from which the time budget counts; None is now.
        stop: asked before each step; True saves and ends the session.
    """
    began = time.monotonic() if began is None else began
    with enough_memory(), opening as run:
        trainer = Trainer(run, began, stop)
        try:
            yield from trainer.events()
        except GeneratorExit:
            trainer.save()
            raise
