"""Engine that recites texts: what follows in them is nearly certain, or as likely in each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from chargen.engine import State
from chargen.sampling.sampler import Sampler
from chargen.tokenizers import Tokenizer, build_tokenizer

Ids = list[int]


class Reciting:
    """The state is the number of what was read; the texts go on after the longest end of it."""

    def __init__(self, texts: tuple[str, ...], tokenizer: Tokenizer) -> None:
        self._texts = [tokenizer.encode(text).tolist() for text in texts]
        self._begin, self._vocab_size = tokenizer.encode("\n").tolist(), tokenizer.vocab_size
        self._read: list[Ids] = [[]]

    def init_state(self, batch: int) -> State:
        return (np.zeros((1, batch, 1), np.float32),)

    def run(self, ids: NDArray[np.int64], state: State) -> tuple[NDArray[np.float32], State]:
        logits = np.zeros((*ids.shape, self._vocab_size), np.float32)
        after = np.zeros_like(state[0])
        for row, tokens in enumerate(ids.tolist()):
            read = self._read[int(state[0][0, row, 0])]
            for step, token in enumerate(tokens):
                read = [*read, token]
                logits[row, step, [self._after(read, text) for text in self._texts]] = 12
            self._read.append(read)
            after[0, row, 0] = len(self._read) - 1
        return logits, (after,)

    def _after(self, read: Ids, text: Ids) -> int:
        """Return the token of a text after the longest end of what was read."""
        if read == self._begin:
            return text[0]
        best = max(range(len(text)), key=lambda place: alike(read, text[: place + 1]))
        return text[(best + 1) % len(text)] if text[best] == read[-1] else text[0]


def alike(one: Ids, other: Ids) -> int:
    """Return the number of tokens that two lists end with alike."""
    pairs = enumerate(zip(reversed(one), reversed(other), strict=False))
    return next((n for n, (a, b) in pairs if a != b), min(len(one), len(other)))


def reciting(*texts: str, kind: str = "char") -> Sampler:
    """Return a sampler that recites a text again and again; several are equally likely."""
    tokenizer = build_tokenizer(kind, "".join(texts), 280)
    return Sampler(tokenizer, Reciting(texts, tokenizer))
