"""State of a run: all that a session of training starts from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from chargen.config import TrainConfig
from chargen.data.batches import Batches
from chargen.data.dataset import Dataset
from chargen.data.text_batches import TextBatches, batches_of
from chargen.machine.pace import Pace
from chargen.model.counts import NGramCounts
from chargen.model.spec import ModelConfig
from chargen.storage.checkpoint import Tensors
from chargen.training.plan import Plan
from chargen.training.processes import ALONE, ProcessGroup


@dataclass
class Progress:
    """What a run has done so far.

    Attributes:
        seconds: time used, in all sessions.
        best: lowest validation loss so far, in nats per token.
        history: (step, train loss, validation loss) of each evaluation.
        loss_sum: losses since the last evaluation, summed.
        loss_count: and how many they are.
        rollbacks: how often the loss exploded and an earlier state was taken back.
    """

    seconds: float = 0.0
    best: float | None = None
    history: list[tuple[int, float | None, float | None]] = field(default_factory=list)
    loss_sum: float = 0.0
    loss_count: int = 0
    rollbacks: int = 0

    @property
    def train_loss(self) -> float | None:
        """Mean loss since the last evaluation, in nats per token."""
        return self.loss_sum / self.loss_count if self.loss_count else None

    def add(self, loss: float) -> None:
        """Count the loss of a step."""
        self.loss_sum += loss
        self.loss_count += 1

    def note(self, step: int, val_loss: float | None) -> bool:
        """Note an evaluation and tell whether it is the best so far."""
        best = val_loss is None or self.best is None or val_loss < self.best
        self.history.append((step, self.train_loss, val_loss))
        self.loss_sum, self.loss_count = 0.0, 0
        self.best = val_loss if best else self.best
        return best


@dataclass(frozen=True)
class RunState:
    """All that a session of a run starts from.

    Attributes:
        folder: of the run's files.
        model: the architecture.
        config: the recipe and the budget; its time is that of all sessions together.
        dataset: the tokenised text.
        source: where the text came from and how it was read, and its sha256.
        plan: the choices measured on this machine.
        device: where to compute.
        progress: what earlier sessions did.
        step: steps they took.
        tensors: what they learned; None in a new run.
        reasons: why model, recipe and plan are as they are, in words; of a new run.
        group: the processes that train together.
        weights: what a new run starts from, if not from random weights.
        notes: what a user should know before it begins, a sentence each.
        counts: n-gram counts of the text, which are mixed with the model; of the main process.
    """

    folder: Path
    model: ModelConfig
    config: TrainConfig
    dataset: Dataset
    source: dict[str, Any]
    plan: Plan
    device: torch.device
    progress: Progress = field(default_factory=Progress)
    step: int = 0
    tensors: Tensors | None = None
    reasons: dict[str, str] = field(default_factory=dict)
    group: ProcessGroup = ALONE
    weights: Tensors | None = None
    notes: tuple[str, ...] = ()
    counts: NGramCounts | None = None

    @property
    def ngram_baseline(self) -> float | None:
        """Loss of the n-gram baseline in nats per token, if that is known."""
        return (self.source.get("ngram_baseline") or {}).get("nats_per_token")

    def batches(self) -> Batches | TextBatches:
        """Return what its steps read."""
        sizes = self.plan.batch_size, self.plan.bptt
        unlabelled = self.config.label_dropout
        return batches_of(
            self.dataset, *sizes, self.config.seed, unlabelled, processes=self.group.size
        )

    def pace(self) -> Pace:
        """Return the pace that keeps it at its fastest number of threads."""
        known = {threads: seconds for threads, seconds in self.plan.threads if seconds}
        options = tuple(threads for threads, _ in self.plan.threads)
        return Pace(options, known, first=self.plan.threads_at(self.step))

    def header(self) -> dict[str, Any]:
        """Return what does not change in a session, for the resume file."""
        return {
            "model": self.model.to_json(),
            "config": self.config.to_json(),
            "tokenizer": self.dataset.tokenizer.to_json(),
            "source": self.source,
        }
