"""Walks through what constraints allow."""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Iterator

import numpy as np

from chargen.sampling.constraints import (
    Constraint,
)
from chargen.tokenizers import Tokenizer, build_tokenizer

KINDS = ["char", "byte", "unigram", "bpe"]
LETTERS = "abcAB 1.\n'é🎉"
BASE = "abc Ab a1. cab's ba\nabba cc. a'b é🎉 b\n" * 40


@functools.cache
def tokenizer(kind: str) -> Tokenizer:
    return build_tokenizer(kind, BASE, 330)


def walk(
    constraint: Constraint, length: int, draws: random.Random, before: str = ""
) -> tuple[str, bool]:
    """Draw any allowed id until the length is reached or nothing is allowed; check each promise."""
    used = constraint.tokenizer
    state, data, left = constraint.start(before), b"", length
    while left > 0:
        ids = np.flatnonzero(constraint.allowed(state, left))
        if not len(ids):
            break
        if used.kind != "char":  # most ids are bytes of rare characters
            ids = np.array([i for i in ids if used.pieces[i] in BASE.encode()] or ids)
        token = int(draws.choice(ids))
        state = constraint.advance(state, token)
        data += used.pieces[token]
        left = length - len(data.decode("utf-8", "ignore"))
    assert left >= 0
    return data.decode(), constraint.is_complete(state)


def spell(constraint: Constraint, text: str) -> bool:
    """Tell whether a text can be written through the masks, with just its characters left."""
    used = constraint.tokenizer
    ids = used.encode(text).tolist()
    state, data = constraint.start(), b""
    for token in ids:
        left = len(text) - len(data.decode("utf-8", "ignore"))
        if not constraint.allowed(state, left)[token]:
            return False
        state = constraint.advance(state, token)
        data += used.pieces[token]
    return constraint.is_complete(state)


def texts(letters: str, longest: int) -> Iterator[str]:
    for length in range(longest + 1):
        for characters in itertools.product(letters, repeat=length):
            yield "".join(characters)
