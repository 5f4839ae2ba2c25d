"""States after the beginnings of texts: the same as if each text was read at once."""

from __future__ import annotations

import numpy as np

from chargen.sampling.sampler import DecodeState, Sampler
from chargen.server.prefixes import STRIDE, Prefixes
from chargen.tokenizers import build_tokenizer
from tests.hashing import hashing, steps

WORDS = "the warranty of the program is the warranty of the work "


def read(prefixes: Prefixes, sampler: Sampler, text: str) -> DecodeState:
    strides = prefixes.read(text)
    try:
        while True:
            next(strides)
    except StopIteration as end:
        before, rest = end.value
    return sampler.read(rest, before)


def test_a_text_of_subwords_is_read_as_a_whole() -> None:
    sampler = hashing(build_tokenizer("bpe", WORDS * 200, 300))
    for size in range(2 * STRIDE - 8, 2 * STRIDE + 8):
        text = (WORDS * 20)[:size]
        found, wanted = read(Prefixes(sampler), sampler, text), sampler.read(text)
        assert np.array_equal(found.logits, wanted.logits), size


def test_a_text_that_grows_is_not_read_anew() -> None:
    sampler = hashing()
    prefixes, text = Prefixes(sampler), "abc efgh" * 100
    read(prefixes, sampler, text)
    before = steps(sampler)
    state = read(prefixes, sampler, text + "a")
    assert steps(sampler) - before <= STRIDE
    assert np.array_equal(state.logits, sampler.read(text + "a").logits)
