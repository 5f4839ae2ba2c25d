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
WIDE = 16  # texts from which all are advanced at once, not one after another
MOST = 1 << 20  # tokens followed that are counted
LENGTHS = 6  # lengths that are told apart: 0, 1-2, 3-6, 7-14, 15-30, 31 or more tokens followed


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
        if len(ids) >= WIDE:
            return self._advanced(state, contexts, ids)
        after: list[list[int]] = []
        for start, *row in zip(state.tolist(), contexts.tolist(), ids.tolist(), strict=True):
            pair = start
            for context, token in zip(*row, strict=True):
                pair = self.follow(pair, context, token)
                after.append(pair)
        return np.array(after).reshape(*ids.shape, WIDTH)

    def _advanced(self, state: Numbers, contexts: Numbers, ids: Numbers) -> Numbers:
        """Return the same for many texts, step by step for all of them."""
        after = np.zeros((*ids.shape, WIDTH), np.int64)
        place, followed = state.T  # (B,)
        for step, (token, context) in enumerate(zip(ids.T, contexts.T, strict=True)):
            held = (place > 0) & (self.text[place] == token)
            begun = np.where(context > 0, self.last[context - 1], 0)
            place = np.where(held, place + 1, begun)
            place = np.where(place < len(self.text), place, 0)
            followed = np.where(held & (place > 0), np.minimum(followed + 1, MOST), 0)
            after[:, step] = np.stack([place, followed], axis=1)
        return after

    def follow(self, pair: list[int], context: int, token: int) -> list[int]:
        """Return the state of a text after one more token."""
        place, followed = pair
        if place and self._text[place] == token:
            place, followed = place + 1, min(followed + 1, MOST)
        else:
            place, followed = self._last[context - 1] if context else 0, 0
        return [place, followed] if place < len(self._text) else [0, 0]

    def expected(self, state: Numbers) -> list[tuple[int, int]]:
        """Return the expected token, -1 for none, and the length of each state (M, 2)."""
        return [
            (self._text[place], min((followed + 1).bit_length(), LENGTHS) - 1) if place else (-1, 0)
            for place, followed in state.tolist()
        ]
