"""Engine whose logits depend on all that was read, exactly; it counts its steps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from chargen.engine import State
from chargen.sampling.sampler import Sampler
from chargen.tokenizers import Tokenizer, build_tokenizer

ALPHABET = "\n abcdefgh"


class Hashing:
    """The state is a number modulo 1009 that each token changes."""

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size, self.steps = vocab_size, 0

    def init_state(self, batch: int) -> State:
        return (np.zeros((1, batch, 1), np.float32),)

    def run(self, ids: NDArray[np.int64], state: State) -> tuple[NDArray[np.float32], State]:
        self.steps += ids.shape[1]
        number = state[0][0, :, 0].astype(np.int64)  # (B,)
        logits = np.zeros((*ids.shape, self.vocab_size), np.float32)
        for step in range(ids.shape[1]):
            number = (31 * number + ids[:, step] + 1) % 1009
            logits[:, step] = 2 * np.cos(number[:, None] * np.arange(1, self.vocab_size + 1))
        return logits, (number[None, :, None].astype(np.float32),)


def hashing(tokenizer: Tokenizer | None = None) -> Sampler:
    """Return a sampler with this engine, by default of a few letters."""
    tokenizer = tokenizer or build_tokenizer("char", ALPHABET, 0)
    return Sampler(tokenizer, Hashing(tokenizer.vocab_size))


def steps(sampler: Sampler) -> int:
    """Return the steps that its engine has run."""
    assert isinstance(sampler.engine, Hashing)
    return sampler.engine.steps
