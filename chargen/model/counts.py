"""N-gram counts beside a network: what a text says without learning it.

``evaluation.ngram`` makes them. The state is the number of the context of each length that ends
here (``ngram_table``), and that of the longest match (``match``).

Legend of shapes: B batch size, T steps, M rows, V vocabulary, N order.
"""

from __future__ import annotations

import numpy as np

from chargen.errors import CheckpointError
from chargen.model.label_counts import OF_LABELS, LabelCounts
from chargen.model.match import WIDTH, LongestMatch, Numbers
from chargen.model.ngram_table import KINDS, Level, NGramTable, Probabilities, smallest
from chargen.storage.checkpoint import Tensors

PREFIX = "counts."
TEXT, LAST = f"{PREFIX}text", f"{PREFIX}last"


class NGramCounts:
    """Kneser-Ney probabilities of one order.

    Args:
        table: of one model.
        match: follows the text where its longest contexts stood.
        labels: of the texts of each label, where there are labels.
    """

    def __init__(
        self, table: NGramTable, match: LongestMatch, labels: LabelCounts | None = None
    ) -> None:
        self.table, self.match, self.labels = table, match, labels
        self.vocab_size, self.order = table.vocab_size, table.order
        self.width = table.order + WIDTH  # of the state, without that of the labels

    def start(self, batch: int) -> Numbers:
        """Return the state before the beginning of a text, (B, N+2): no context is known."""
        state = np.zeros((batch, self.width), np.int64)
        state[:, 0] = 1
        return state

    def advance(self, state: Numbers, ids: Numbers) -> Numbers:
        """Return the state after each of ids (B, T), (B, T, N+2).

        Args:
            state: before the first of them (B, N+2).
            ids: tokens.
        """
        if ids.size == 1:
            return self._advanced(state[0].tolist(), int(ids[0, 0]))
        contexts = self.table.advance(state[:, :-WIDTH], ids)
        followed = self.match.advance(state[:, -WIDTH:], contexts[..., -1], ids)
        return np.concatenate([contexts, followed], axis=2)

    def _advanced(self, state: list[int], token: int) -> Numbers:
        contexts = self.table.advanced(state[:-WIDTH], token)
        return np.array([[contexts + self.match.follow(state[-WIDTH:], contexts[-1], token)]])

    def probabilities(self, state: Numbers) -> Probabilities:
        """Return the distribution of the next token in each state, (M, V), of (M, N+2)."""
        return self.table.probabilities(state[:, :-WIDTH])

    def to_tensors(self) -> Tensors:
        """Return the arrays by name, as small as they can be."""
        text, last = smallest(self.match.text), smallest(self.match.last)
        own = {**self.table.to_tensors(PREFIX), TEXT: text, LAST: last}
        return {**own, **(self.labels.to_tensors() if self.labels else {})}

    @classmethod
    def from_tensors(cls, tensors: Tensors, vocab_size: int, labels: int = 0) -> NGramCounts:
        """Read what ``to_tensors`` returned.

        Raises:
            CheckpointError: they are not counts of such a vocabulary and so many labels.
        """
        more = {name: array for name, array in tensors.items() if name.startswith(OF_LABELS)}
        held = {name: a for name, a in tensors.items() if name not in (TEXT, LAST, *more)}
        try:
            table = NGramTable.from_tensors(held, PREFIX, vocab_size)
            match = LongestMatch(tensors[TEXT], tensors[LAST])
            _check_match(match, table.levels, vocab_size)
        except (KeyError, ValueError, TypeError) as error:
            raise CheckpointError(f"the n-gram counts of the model are damaged: {error}") from None
        own = LabelCounts.from_tensors(more, vocab_size, labels) if more else None
        return cls(table, match, own)


def _check_match(match: LongestMatch, levels: tuple[Level, ...], vocab_size: int) -> None:
    text, last = match.text, match.last
    whole = all(part.ndim == 1 and part.dtype in KINDS for part in (text, last))
    if not (whole and len(text)) or len(last) != len(levels[-1].lengths):
        raise ValueError("the longest match does not fit")
    if int(text.max(initial=0)) >= vocab_size or int(last.max(initial=0)) > len(text):
        raise ValueError("the longest match leads out of the text")
