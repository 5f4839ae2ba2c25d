"""Optimizer step on a batch, and all tensors that continue the learning after a stop."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from chargen.config import TrainConfig
from chargen.data.batches import Batch
from chargen.errors import CheckpointError
from chargen.machine.torch import autocast
from chargen.model.cells import State
from chargen.model.language_model import LanguageModel, to_arrays
from chargen.model.loss import token_losses
from chargen.model.spec import ModelConfig
from chargen.storage.checkpoint import Tensors
from chargen.tokenizers.base import PADDING
from chargen.training.optimizer import (
    LockedDropout,
    dropped_weights,
    learning_rate,
    make_optimizer,
    peak_learning_rate,
)
from chargen.training.processes import ALONE, ProcessGroup
from chargen.training.row_adagrad import TABLE_RATE, RowAdagrad


class Learner:
    """A model in training: truncated back-propagation through time, a batch a step.

    The recurrent state is carried from batch to batch; its gradient is cut there.

    Attributes:
        model: the weights that learn.
        averaged: their exponential moving average, which is evaluated and saved.
        steps: optimizer steps taken.
        norm: length of the last step's gradient, all weights together, before clipping.
    """

    def __init__(
        self,
        model: ModelConfig,
        config: TrainConfig,
        batch_size: int,
        device: torch.device,
        group: ProcessGroup = ALONE,
    ) -> None:
        self.config, self.device, self.group, self.steps = config, device, group, 0
        self.norm = 0.0
        self.model = LanguageModel(model, config).to(device)
        self.averaged = LanguageModel(model, config).to(device).requires_grad_(False)
        self.averaged.ngrams = self.model.ngrams  # their last steps are small: no average
        self.peak = peak_learning_rate(config, model.layers)
        self._optimizer = make_optimizer(self.model.dense().values(), config)
        self._ngrams = RowAdagrad(self.model.ngrams.table.weight) if self.model.ngrams else None
        usual = peak_learning_rate(replace(config, learning_rate=None), model.layers)
        self._table_rate = TABLE_RATE / usual
        self._generator = torch.Generator(device).manual_seed(config.seed)
        self._dropout = LockedDropout(config, self._generator, group)
        rows = group.share(batch_size)
        self._state: State = self.model.init_state(rows.stop - rows.start)
        named = self.model.named_parameters()
        self._recurrent = [weight for name, weight in named if name.endswith("weight_hh_l0")]
        self._wrapped = group.wrap(self.model)

    def learn(self, batch: Batch, progress: float, precision: str) -> float:
        """Take one step on a batch and return its mean loss in nats per token.

        Not a number, and nothing is learned, if the gradient is not finite. Of several processes
        each is given the whole batch, learns from its own rows, and returns their loss.

        Args:
            batch: tokens (B, T+1), and of texts with labels these.
            progress: fraction of the run that is over, for the learning rate.
            precision: ``float32`` or ``bfloat16``.
        """
        rows = self.group.share(len(batch.tokens))
        own = torch.from_numpy(batch.tokens[rows]).to(self.device)
        before, rate = self._before(batch, rows), self.config.weight_drop or 0.0
        with dropped_weights(self._recurrent, rate, self._generator):
            with autocast(self.device, precision):
                losses, _, state = token_losses(self._wrapped, own, before, self._dropout)
                loss = losses.sum() / (own[:, 1:] != PADDING).sum().clamp(min=1)
            loss.backward()  # type: ignore[no-untyped-call]
        self._state = tuple(part.detach().float() for part in state)
        self.norm = float(nn.utils.clip_grad_norm_(self.model.dense().values(), self.config.clip))
        if not math.isfinite(self.norm):
            self._forget()
            return math.nan  # such a step would spoil the weights
        rate = learning_rate(progress, self.peak, self.config.warmup)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        if self._ngrams:
            self._ngrams.step(rate * self._table_rate)
        self._average()
        return float(loss.detach())

    def _before(self, batch: Batch, rows: slice) -> State:
        """Return the state before a batch, with the labels of its texts."""
        state = self.model.init_state(rows.stop - rows.start) if batch.begins else self._state
        if batch.labels is None or self.model.labels is None:
            return state
        labels = torch.from_numpy(batch.labels[rows]).to(self.device, torch.int64)
        return self.model.with_labels(state, labels)

    def _forget(self) -> None:
        """Drop a gradient and a state that are not finite, which would spoil all steps after."""
        self.model.zero_grad(set_to_none=True)
        self._state = self.model.init_state(self._state[0].shape[1])

    @torch.no_grad()
    def _average(self) -> None:
        """Move the averaged weights towards the weights; at first nearly all the way."""
        self.steps += 1
        decay = min(self.config.ema, self.steps / (self.steps + 10))
        weights = self.model.dense()
        for name, average in self.averaged.dense().items():
            average.lerp_(weights[name], 1 - decay if self.config.ema else 1.0)

    def begin_with(self, weights: Tensors) -> None:
        """Start from these weights instead of random ones."""
        self.model.load(weights)
        self.averaged.load(weights)

    def tensors(self) -> Tensors:
        """Return all that continues the learning: weights, averages, moments, state, draws."""
        named: dict[str, Tensor] = {}
        named |= {f"weights/{name}": p for name, p in self.model.named_parameters()}
        named |= {f"average/{name}": p for name, p in self.averaged.dense().items()}
        for number, part in enumerate(self._state):
            named[f"state/{number}"] = self.group.all_gather(part)
        named["generator"] = self._generator.get_state()
        named |= {"ngrams/sums": self._ngrams.sums} if self._ngrams else {}
        for number, moments in self._optimizer.state_dict()["state"].items():
            named |= {f"optimizer/{number}/{name}": m for name, m in moments.items()}
        return to_arrays(named)

    def restore(self, tensors: Tensors, steps: int) -> None:
        """Take back what ``tensors`` returned after this number of steps.

        Raises:
            CheckpointError: they are not those of such a learner.
        """
        self.steps = steps
        try:
            self._restore(tensors)
        except (IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise CheckpointError(f"the resume file does not fit its own model: {error}") from None

    def _restore(self, tensors: Tensors) -> None:
        self.model.load(_below("weights/", tensors))
        self.averaged.load({**_below("weights/", tensors), **_below("average/", tensors)})
        if self._ngrams:
            self._ngrams.sums.copy_(torch.from_numpy(tensors["ngrams/sums"]))
        state = _below("state/", tensors)
        parts = tuple(
            torch.from_numpy(state[str(n)])[:, self.group.share(state[str(n)].shape[1])]
            for n in range(len(state))
        )
        if [part.shape[2:] for part in parts] != [part.shape[2:] for part in self._state]:
            raise ValueError("its state is another")
        self._state = tuple(part.to(self.device) for part in parts)
        self._generator.set_state(torch.from_numpy(tensors["generator"]))
        moments: dict[int, dict[str, Tensor]] = {}
        weights = [w for group in self._optimizer.param_groups for w in group["params"]]
        for name, array in _below("optimizer/", tensors).items():
            number, _, kind = name.partition("/")
            if array.shape not in ((), weights[int(number)].shape):
                raise ValueError(f"{kind} of weight {number} has shape {array.shape}")
            moments.setdefault(int(number), {})[kind] = torch.from_numpy(array)
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": moments, "param_groups": groups})


def _below(prefix: str, tensors: Tensors) -> Tensors:
    return {
        name.removeprefix(prefix): array
        for name, array in tensors.items()
        if name.startswith(prefix)
    }
