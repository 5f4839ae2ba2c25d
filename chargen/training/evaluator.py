"""Evaluations of a run: validation and a sample while it learns, all losses at its end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from chargen.config import SampleConfig
from chargen.engine import Engine
from chargen.engine.mixture import MixtureEngine
from chargen.evaluation.final import final_losses
from chargen.evaluation.validation import engine_of, score_streams
from chargen.machine.torch import autocast
from chargen.model.language_model import LanguageModel
from chargen.model.saved import Mixture
from chargen.sampling.sampler import Sampler
from chargen.tokenizers.byte import replaced
from chargen.training.diagnostics import advice, label
from chargen.training.plan import Plan, ending_seconds, judging_seconds, time_engine, tokens_read
from chargen.training.run_state import Progress, RunState

SAMPLE_LENGTH = 160  # characters of the sample at each evaluation


class Losses(NamedTuple):
    """Validation losses; None without a validation part.

    Attributes:
        nats: per token.
        bits: per character.
        seconds: that the evaluation took.
    """

    nats: float | None
    bits: float | None
    seconds: float


class Evaluator:
    """Evaluates the averaged weights of a run.

    Args:
        run: the run.
        model: the averaged weights.
    """

    def __init__(self, run: RunState, model: LanguageModel) -> None:
        self._run, self._model = run, model
        self._segment = run.dataset.validation

    def validate(self, plan: Plan) -> Losses:
        """Score the validation part in streams, as many tokens of it as the plan says."""
        if not len(self._segment):
            return Losses(None, None, 0.0)
        began = time.perf_counter()
        with autocast(self._run.device, plan.precision):
            score = score_streams(self._model, self._segment, plan.evaluation_tokens)
        seconds = time.perf_counter() - began
        return Losses(score.nats_per_token, score.bits_per_char, seconds)

    def engine(self, threads: int | None) -> Engine:
        """Return an engine of the weights as they are now, with the counts mixed in."""
        engine, counts = engine_of(self._model, threads), self._run.counts
        return MixtureEngine(engine, counts, Mixture()) if counts else engine

    def sample(self, engine: Engine, step: int) -> str:
        """Generate a short text."""
        sampler = Sampler(self._run.dataset.tokenizer, engine)
        config = SampleConfig(length=SAMPLE_LENGTH, seed=self._run.config.seed + step)
        return replaced("".join(sampler.stream(sampler.read(""), config)))

    def ending(self, engine: Engine, plan: Plan, seconds: float) -> float | None:
        """Return the seconds that the end of the run will take at the speed of the machine now.

        Args:
            engine: of the weights.
            plan: of the run.
            seconds: that the last validation took.
        """
        count = len(self._segment)
        scored = min(count, plan.evaluation_tokens or count)
        if self._run.config.time is None or not scored:
            return None
        reading = time_engine(engine, self._run.dataset, seconds / tokens_read(scored))
        return ending_seconds(reading, self._run.dataset, self._run.config.time)

    def final(
        self, threads: int | None, overdue: Callable[[], bool]
    ) -> tuple[dict[str, float | None], Mixture | None]:
        """Return the losses at the end, by the names in ``metrics.jsonl``, and the mixture."""
        judging = judging_seconds(self._run.config.time)
        parts = self._model, self._run.dataset, threads, overdue
        return final_losses(*parts, self._run.counts, judging)

    def judge(
        self, progress: Progress, final: dict[str, float | None], seconds: float
    ) -> tuple[str | None, tuple[str, ...]]:
        """Return how well the model fits, and what to try next."""
        train, val = final["final_train_loss"], final["final_network_loss"]
        if train is None or val is None:
            return None, ()
        kind, plan = label(progress.history, train, val), self._run.plan
        words = advice(
            kind,
            train_loss=train,
            val_loss=val,
            mixed_loss=final["final_val_loss"] or val,
            ngram_baseline=self._run.ngram_baseline,
            history=progress.history,
            tokens_per_step=plan.batch_size * plan.bptt / len(self._run.dataset.train),
            dropout=self._run.config.dropout or 0.0,
            tuned="base" in self._run.source,
            run=self._run.folder.name,
            seconds=seconds,
        )
        return kind, tuple(words)
