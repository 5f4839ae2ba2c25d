"""Engine that recites a text: after what was read of it, its next character is nearly certain."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from chargen.engine import State
from chargen.sampling.sampler import Sampler
from chargen.tokenizers import Tokenizer, build_tokenizer


class Reciting:
    """The state is the place in the text after the longest end of what was read that is in it."""

    def __init__(self, text: str, tokenizer: Tokenizer) -> None:
        self.tokenizer, self.ids = tokenizer, tokenizer.encode(text).tolist()
        self.read: list[list[int]] = [[]]  # what was read, by the number that is the state

    def init_state(self, batch: int) -> State:
        return (np.zeros((1, batch, 1), np.float32),)

    def run(self, ids: NDArray[np.int64], state: State) -> tuple[NDArray[np.float32], State]:
        logits = np.zeros((*ids.shape, self.tokenizer.vocab_size), np.float32)
        after = np.zeros_like(state[0])
        for row, tokens in enumerate(ids.tolist()):
            read = self.read[int(state[0][0, row, 0])]
            for step, token in enumerate(tokens):
                read = [*read, token]
                logits[row, step, self._next(read)] = 12
            self.read.append(read)
            after[0, row, 0] = len(self.read) - 1
        return logits, (after,)

    def _next(self, read: list[int]) -> int:
        """Return the token after the longest end of what was read; at first, the first one."""
        places = [n for n in range(len(self.ids)) if self.ids[n] == read[-1]]
        alike = {place: self._alike(read, place) for place in places}
        best = max(alike, key=lambda place: alike[place], default=-1)
        return int(self.ids[(best + 1) % len(self.ids)]) if alike and len(read) > 1 else self.ids[0]

    def _alike(self, read: list[int], place: int) -> int:
        count = 0
        while count <= place and count < len(read) and self.ids[place - count] == read[-1 - count]:
            count += 1
        return count


def reciting(text: str, kind: str = "char") -> Sampler:
    """Return a sampler that recites a text again and again."""
    tokenizer = build_tokenizer(kind, text, 280)
    return Sampler(tokenizer, Reciting(text, tokenizer))
