"""N-gram counts of the texts of each label, beside those of all texts.

The table has a root for each label. The state of a text is the contexts of each of its labels; they
are 0 for a label that it does not have.

Legend of shapes: B batch size, T steps, V vocabulary, L labels, N order; M pairs of a text and a
label that it has.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from chargen.errors import CheckpointError
from chargen.model.match import Numbers
from chargen.model.ngram_table import NGramTable, Probabilities
from chargen.storage.checkpoint import Tensors

OF_LABELS = "label_counts."
MOST = 64  # labels that have counts of their own: the state grows with them


class LabelCounts:
    """Kneser-Ney probabilities of one order, a model for each label.

    Args:
        table: with a root for each label.
    """

    def __init__(self, table: NGramTable) -> None:
        self.table = table
        self.width = table.roots * table.order  # of the state

    def start(self, weights: NDArray[np.float32]) -> Numbers:
        """Return the state before the beginning of texts with these labels (B, L), (B, L * N)."""
        state = np.zeros((*weights.shape, self.table.order), np.int64)
        state[..., 0] = (weights > 0) * np.arange(1, self.table.roots + 1)
        return state.reshape(len(weights), self.width)

    def read(
        self, state: Numbers, ids: Numbers, weights: NDArray[np.float32], others: Probabilities
    ) -> tuple[Probabilities, Numbers]:
        """Return the distributions after each of ids (B, T), (B, T, V), and the last state.

        Args:
            state: before the first of them (B, L * N).
            ids: tokens.
            weights: of the labels of each text (B, L), which sum to 1, or are all 0.
            others: the distributions of all texts (B, T, V), for texts without a label.
        """
        rows, labels = np.nonzero(weights)  # (M,)
        after = np.zeros((len(ids), self.table.roots, self.table.order), np.int64)
        mixed = others * (1 - weights.sum(axis=1))[:, None, None]
        if len(rows):
            before = state.reshape(after.shape)[rows, labels]  # (M, N)
            contexts = self.table.advance(before, ids[rows])  # (M, T, N)
            found = self.table.probabilities(contexts.reshape(-1, self.table.order))
            found = found.reshape(*contexts.shape[:2], -1) * weights[rows, labels, None, None]
            for label in np.unique(labels):  # of each label a text has one row
                own = labels == label
                mixed[rows[own]] += found[own]
            after[rows, labels] = contexts[:, -1]
        return mixed, after.reshape(len(ids), self.width)

    def to_tensors(self) -> Tensors:
        """Return the arrays by name, as small as they can be."""
        return self.table.to_tensors(OF_LABELS)

    @classmethod
    def from_tensors(cls, tensors: Tensors, vocab_size: int, labels: int) -> LabelCounts:
        """Read what ``to_tensors`` returned.

        Raises:
            CheckpointError: they are not counts of so many labels and such a vocabulary.
        """
        try:
            return cls(NGramTable.from_tensors(tensors, OF_LABELS, vocab_size, labels))
        except (KeyError, ValueError, TypeError) as error:
            raise CheckpointError(f"the n-gram counts of the labels are damaged: {error}") from None
