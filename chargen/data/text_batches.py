"""Batches of texts that are read each by itself: the state starts anew with each of them.

Texts of about the same length are read side by side, so that little is padded: each epoch they are
grouped and the groups shuffled anew. Long ones are cut into passages.

Legend of shapes: B texts of a batch, T its steps, R texts of the training part.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chargen.data.batches import Batch, Batches
from chargen.data.dataset import Dataset
from chargen.data.texts import UNLABELLED, Texts
from chargen.tokenizers import Ids
from chargen.tokenizers.base import PADDING

PASSAGE = 16  # windows of the longest passage
FINE = 8  # lengths are told apart to one part in so many

Numbers = NDArray[np.int64]
NONE: Numbers = np.zeros(0, np.int64)


class Epoch(NamedTuple):
    """The order of an epoch.

    Attributes:
        groups: passages that are read side by side, (B,) each.
        ends: steps of the epoch after each of them.
        labels: label of each passage.
    """

    groups: list[Numbers]
    ends: Numbers
    labels: NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class TextBatches:
    """The texts of a training part in batches.

    Attributes:
        ids: tokens of the training part (N,).
        texts: which it consists of.
        batch_size: texts side by side that are as long as a window; more of shorter ones.
        bptt: steps of a window at most.
        processes: batches are multiples of this.
        unknown_id: what stands for an unknown character, if the tokenizer has that.
        unknown_rate: probability with which a character is replaced by it.
        unlabelled: fraction of the texts that are read without their label.
        seed: of all that is random.
    """

    ids: Ids
    texts: Texts
    batch_size: int
    bptt: int
    processes: int = 1
    unknown_id: int | None = None
    unknown_rate: float = 0.0
    unlabelled: float = 0.0
    seed: int = 0

    @functools.cached_property
    def _passages(self) -> tuple[Numbers, Numbers, NDArray[np.int32]]:
        """Begin and length of each passage, and its text's label."""
        whole = self.texts.lengths
        counts = -(-whole // (PASSAGE * self.bptt))
        size = np.repeat(-(-whole // np.maximum(1, counts)), counts)  # all of a text alike
        number = np.arange(len(size)) - np.repeat(np.cumsum(counts) - counts, counts)
        begins = np.repeat(self.texts.borders[:-1], counts) + number * size
        lengths = np.minimum(size, np.repeat(self.texts.borders[1:], counts) - begins)
        return begins, lengths, np.repeat(self.texts.labels, counts)

    @functools.cached_property
    def _classes(self) -> list[tuple[int, Numbers]]:
        """Passages by the length that they are padded to at most; few with longer ones."""
        lengths = self._passages[1]
        grid = np.maximum(1, 2 ** (np.log2(lengths).astype(np.int64) + 1) // FINE)
        rounded = -(-lengths // grid) * grid
        sizes, classes, few = np.unique(rounded).tolist(), list[tuple[int, Numbers]](), NONE
        for size in sizes:
            few = np.concatenate([few, np.flatnonzero(rounded == size)])
            if 2 * len(few) >= self._rows(size) or size == sizes[-1]:
                classes.append((size, few))
                few = NONE
        return classes

    def _windows(self, size: int) -> int:
        return -(-size // self.bptt)

    def _rows(self, size: int) -> int:
        """Return how many passages of a length make a batch."""
        return self.batch_size * self.bptt // min(size, self.bptt)

    def _groups(self, size: int, count: int) -> int:
        """Return in how many groups so many passages of a length are read."""
        return max(1, round(count / self._rows(size)))

    @functools.cached_property
    def steps_per_epoch(self) -> int:
        """Steps in which every text is read once."""
        return sum(self._groups(s, len(own)) * self._windows(s) for s, own in self._classes)

    @functools.lru_cache(maxsize=2)  # noqa: B019 (a run has one of these)
    def _epoch(self, number: int) -> Epoch:
        draws = np.random.default_rng([self.seed, number])
        groups, windows = list[Numbers](), list[int]()
        for size, own in self._classes:
            parts = np.array_split(draws.permutation(own), self._groups(size, len(own)))
            groups += parts
            windows += [self._windows(size)] * len(parts)
        order = draws.permutation(len(groups))
        labels = self._passages[2].copy()
        labels[draws.random(len(labels)) < self.unlabelled] = UNLABELLED
        ends = np.cumsum(np.array(windows)[order])
        return Epoch([groups[n] for n in order], ends, labels)

    def batch(self, step: int) -> Batch:
        """Return the batch of a step."""
        number, step_in_epoch = divmod(step, self.steps_per_epoch)
        epoch = self._epoch(number)
        place = int(np.searchsorted(epoch.ends, step_in_epoch, "right"))
        first = int(epoch.ends[place - 1]) if place else 0
        group, windows = epoch.groups[place], int(epoch.ends[place]) - first
        window = step_in_epoch - first
        tokens = self._tokens(group, window, windows)
        labels = epoch.labels[group]
        if missing := -len(group) % self.processes:
            tokens = np.pad(tokens, ((0, missing), (0, 0)), constant_values=PADDING)
            labels = np.pad(labels, (0, missing), constant_values=UNLABELLED)
        if self.unknown_id is not None and self.unknown_rate:
            hidden = np.random.default_rng([self.seed, step, 1]).random(tokens.shape)
            tokens[(hidden < self.unknown_rate) & (tokens != PADDING)] = self.unknown_id
        return Batch(tokens, labels, begins=window == 0)

    def _tokens(self, group: Numbers, window: int, windows: int) -> Numbers:
        """Return tokens (B, T+1) of a window: windows of a group are equally long."""
        begins, lengths, _ = self._passages
        begins, lengths = begins[group], lengths[group]
        width = -(-int(lengths.max()) // windows)
        offsets = window * width + np.arange(-1, width)  # from the first token of each passage
        places = begins[:, None] + offsets  # (B, T+1)
        tokens: Numbers = self.ids[np.clip(places, 0, len(self.ids) - 1)].astype(np.int64)
        tokens[offsets >= lengths[:, None]] = PADDING
        if window == 0:
            tokens[np.isin(begins, self.texts.borders), 0] = self.texts.before
        return tokens


def batches_of(
    dataset: Dataset,
    batch_size: int,
    bptt: int,
    seed: int = 0,
    unlabelled: float = 0.0,
    processes: int = 1,
) -> Batches | TextBatches:
    """Return the batches of a dataset's training part.

    Args:
        dataset: one text, or several that are read each by itself.
        batch_size: B of one text; texts that are as long as a window.
        bptt: T.
        seed: of what is random.
        unlabelled: fraction of the texts that are read without their label.
        processes: how many share each batch.
    """
    if dataset.texts is None:
        return Batches.of(dataset, batch_size, bptt, seed)
    unknown = dataset.tokenizer.unknown_id, dataset.unknown_rate
    sizes = batch_size, bptt, processes
    return TextBatches(dataset.train, dataset.texts, *sizes, *unknown, unlabelled, seed)
