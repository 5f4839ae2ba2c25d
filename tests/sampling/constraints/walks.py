"""Random walks through the tokens that constraints allow."""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Iterator

import numpy as np

from chargen.sampling.constraints import Constraint, make_constraint
from chargen.sampling.constraints.automata import alphabet_of
from chargen.sampling.constraints.copies import CopyIndex
from chargen.sampling.constraints.no_copy import NoCopy
from chargen.sampling.constraints.tokens import TokenAutomaton
from chargen.tokenizers import Tokenizer, build_tokenizer

KINDS = ["char", "byte", "unigram", "bpe"]
LETTERS = "abcAB 1.\n'é🎉"
BASE = "abc Ab a1. cab's ba\nabba cc. a'b é🎉 b\n" * 40


@functools.cache
def tokenizer(kind: str) -> Tokenizer:
    return build_tokenizer(kind, BASE, 330)


def no_copy(
    index: CopyIndex,
    n: int,
    used: Tokenizer,
    regex: str | None = None,
    words: list[str] | None = None,
) -> Constraint:
    """Return the constraint against copies of n characters, and another rule if one is given."""
    copies = TokenAutomaton(NoCopy(index, n, alphabet_of(used)), used)
    if regex is None and words is None:
        return Constraint(copies)
    return Constraint(*make_constraint(used, regex=regex, words=words).rules, copies)


def walk(
    constraint: Constraint, length: int, rng: random.Random, before: str = ""
) -> tuple[str, bool]:
    """Take random allowed ids until the length is reached or none is allowed.

    Return the text, and whether it is complete.
    """
    used = constraint.tokenizer
    state, data, left = constraint.start(before), b"", length
    while left > 0:
        ids = np.flatnonzero(constraint.allowed(state, left))
        if not len(ids):
            break
        if used.kind != "char":  # most ids are bytes of rare characters
            ids = np.array([i for i in ids if used.pieces[i] in BASE.encode()] or ids)
        token = int(rng.choice(ids))
        state = constraint.advance(state, token)
        data += used.pieces[token]
        left = length - len(data.decode("utf-8", "ignore"))
    assert left >= 0
    return data.decode("utf-8", "ignore"), constraint.is_complete(state)


def spell(constraint: Constraint, text: str) -> bool:
    """Tell whether the masks allow a text, with its length as the limit."""
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
