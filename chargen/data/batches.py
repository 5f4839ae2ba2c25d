"""Batches of the training text for truncated back-propagation through time.

Legend of shapes: B batch size (streams of text), T steps, N tokens of the training text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chargen.data.dataset import Dataset
from chargen.tokenizers import Ids


class Batch(NamedTuple):
    """What a step of training reads.

    Attributes:
        tokens: (B, T+1): inputs are all but the last, targets all but the first.
        labels: number of the label of each text (B,), -1 for none; None if nothing has labels.
        begins: whether the recurrent state starts anew.
    """

    tokens: NDArray[np.int64]
    labels: NDArray[np.int32] | None = None
    begins: bool = False


@dataclass(frozen=True)
class Batches:
    """The training text as B streams read side by side, T steps at a time.

    The text is a ring. Stream b begins at N*b/B; each step reads the next T tokens of every
    stream, so that the recurrent state of one batch always belongs to the text just before. After
    one epoch a stream has reached the beginning of the next one and simply reads on: nothing is
    left out at the end, and the step number is the whole position.

    Attributes:
        ids: tokens of the training text (N,).
        batch_size: B.
        bptt: T.
        unknown_id: what stands for an unknown character, if the tokenizer has that.
        unknown_rate: probability with which a character is replaced by it.
        seed: of these replacements.
    """

    ids: Ids
    batch_size: int
    bptt: int
    unknown_id: int | None = None
    unknown_rate: float = 0.0
    seed: int = 0

    @classmethod
    def of(cls, dataset: Dataset, batch_size: int, bptt: int, seed: int = 0) -> Batches:
        """Return the batches of a dataset's training part."""
        unknown = dataset.tokenizer.unknown_id, dataset.unknown_rate
        return cls(dataset.train, batch_size, bptt, *unknown, seed)

    @property
    def steps_per_epoch(self) -> float:
        """Steps in which every token is read once."""
        return len(self.ids) / (self.batch_size * self.bptt)

    def batch(self, step: int) -> Batch:
        """Return the batch of a step."""
        count = len(self.ids)
        starts = np.arange(self.batch_size) * count // self.batch_size + step * self.bptt  # (B,)
        places = (starts[:, None] + np.arange(self.bptt + 1)) % count  # (B, T+1)
        tokens: NDArray[np.int64] = self.ids[places].astype(np.int64)
        if self.unknown_id is not None and self.unknown_rate:
            draws = np.random.default_rng([self.seed, step]).random(tokens.shape)
            tokens[draws < self.unknown_rate] = self.unknown_id
        return Batch(tokens)


def fit_batches(count: int, batch_size: int, bptt: int) -> tuple[int, int]:
    """Shrink the batch size, then the steps, until a text of ``count`` tokens fills them."""
    batch_size = max(1, min(batch_size, count // (2 * bptt)))
    return batch_size, max(1, min(bptt, count - 1))
