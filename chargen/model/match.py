"""Longest match: what followed the last place of the training text where the same words stood.

Compressors have it (Ziv and Lempel 1977; the match models of Mahoney's PAQ). Counts know a few
characters; a match that has held for long goes on for whole lines. It begins where the longest
context of the counts was last seen, and is followed as long as the text goes on in the same way.

Legend of shapes: B batch size, T steps, N tokens of the training text, C longest contexts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]

WIDTH = 2  # numbers of the state
MOST = 1 << 20  # tokens followed that are counted


class LongestMatch:
    """A text, and where each context was seen last.

    The state is the place of the expected token in the text, 0 for none, and how many tokens were
    followed to it.

    Args:
        text: training text (N).
        last: place after the last occurrence of each context (C), up to N, which is its end.
    """

    def __init__(self, text: NDArray[np.integer], last: NDArray[np.integer]) -> None:
        self.text, self.last = text, last
        self._text, self._last = text.data, last.data  # quicker for single numbers

    def advance(self, state: Numbers, contexts: Numbers, ids: Numbers) -> Numbers:
        """Return the state after each of ids (B, T), (B, T, 2).

        Args:
            state: before the first of them (B, 2).
            contexts: number of the longest context after each, from 1; 0 if it is new (B, T).
            ids: tokens.
        """
        rows = zip(state.tolist(), contexts.tolist(), ids.tolist(), strict=True)
        return np.array([self._follow(*row) for row in rows]).reshape(*ids.shape, WIDTH)

    def _follow(
        self, state: list[int], contexts: list[int], ids: list[int]
    ) -> list[tuple[int, int]]:
        (place, followed), after = state, []
        for context, token in zip(contexts, ids, strict=True):
            if place and self._text[place] == token:
                place, followed = place + 1, min(followed + 1, MOST)
            else:
                place, followed = self._last[context - 1] if context else 0, 0
            if place == len(self._text):
                place, followed = 0, 0
            after.append((place, followed))
        return after

    def expected(self, state: Numbers) -> Numbers:
        """Return the expected tokens, -1 where there is none, (...) of (..., 2)."""
        place = state[..., 0]
        return np.where(place > 0, self.text[place].astype(np.int64), -1)
