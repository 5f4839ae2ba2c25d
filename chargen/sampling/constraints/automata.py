"""Automata that read a text character by character and know the distance to its possible end.

An automaton knows the A characters of a model's alphabet, in K classes of characters that it
never tells apart. From each state it knows the fewest characters to a possible end of the text;
whether a text of limited length can still be completed is then one comparison.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chargen.tokenizers import Tokenizer

NEVER = 1 << 30  # characters: more than any text has
CACHED = 20_000  # states with cached distances at most

State = Any  # hashable; each automaton has its own
Counts = NDArray[np.int32]
Classes = NDArray[np.int64]


class Alphabet:
    """The characters that a model can generate, in order of code points.

    Attributes:
        codes: their code points (A,).
        text: the same as a text of A characters.
        banned: characters that are left out although the model has them.
    """

    def __init__(self, codes: NDArray[np.int64], banned: str = "") -> None:
        self.codes, self.banned = codes, banned
        self.text = codes.astype("<u4").tobytes().decode("utf-32-le")

    def find(self, character: str) -> int:
        """Return the index of a character; -1 if it is not in the alphabet."""
        index = int(self.codes.searchsorted(ord(character)))
        return index if self.text[index : index + 1] == character else -1


def alphabet_of(tokenizer: Tokenizer, ban: str = "") -> Alphabet:
    """Return the characters that a tokenizer's ids can spell, without those of ``ban``."""
    whole = _spelled(tokenizer)
    banned = np.isin(whole.codes, [ord(character) for character in ban])
    return Alphabet(whole.codes[~banned], ban) if banned.any() else whole


def _spelled(tokenizer: Tokenizer) -> Alphabet:
    """Return the characters that a tokenizer's ids can spell: all of Unicode if bytes are ids."""
    banned = set(tokenizer.never_sampled)
    pieces = {piece for id, piece in enumerate(tokenizer.pieces) if id not in banned}
    if all(bytes([byte]) in pieces for byte in (*range(0x80, 0xC0), *range(0xC2, 0xF5))):
        return _all_of_unicode()
    texts = [piece.decode() for piece in pieces if _is_text(piece)]
    return Alphabet(np.array(sorted(map(ord, set("".join(texts)))), np.int64))


@functools.cache
def _all_of_unicode() -> Alphabet:
    return Alphabet(np.concatenate([np.arange(0xD800), np.arange(0xE000, 0x110000)]))


def _is_text(piece: bytes) -> bool:
    try:
        piece.decode()
    except UnicodeDecodeError:
        return False
    return True


class Automaton(ABC):
    """A deterministic automaton over characters; its states are made when they are visited.

    Attributes:
        alphabet: the characters that it reads.
        classes: the class of each character (A,), from 0 to K - 1.
        examples: the index in the alphabet of one character of each class (K,).
        cached: states to keep in caches; fewer where a state takes much memory.
    """

    def __init__(self, alphabet: Alphabet, classes: Classes) -> None:
        self.alphabet = alphabet
        self.classes = classes
        self.cached = CACHED
        count = int(classes.max(initial=-1)) + 1
        self.examples: Classes = np.zeros(count, np.int64)
        # The first character of each class: of several assignments the last one stays.
        self.examples[classes[::-1]] = np.arange(len(classes))[::-1]

    @abstractmethod
    def start(self, before: str = "") -> State:
        """Return the state before the first character, after the text of a prompt."""

    @abstractmethod
    def step(self, state: State, kind: int) -> State:
        """Return the state after a character of a class; None if no text continues so."""

    @abstractmethod
    def distance(self, state: State) -> int:
        """Return the fewest characters to a possible end; 0 at one, NEVER if there is none."""

    @abstractmethod
    def required(self, state: State) -> Counts:
        """Return the fewest characters to an end through a character of each class (K,)."""

    def required_by(self, state: State, kind: int) -> int:
        """Return ``required(state)[kind]``."""
        return int(self.required(state)[kind])

    def slack(self, state: State) -> int:
        """Return a number of characters for which any text is allowed and may end anywhere."""
        return 0


class CachedAutomaton(Automaton):
    """An automaton that caches ``required``."""

    def __init__(self, alphabet: Alphabet, classes: Classes) -> None:
        super().__init__(alphabet, classes)
        self._required: dict[State, Counts] = {}

    def required(self, state: State) -> Counts:
        """Return the fewest characters to an end through a character of each class (K,)."""
        found = self._required.get(state)
        if found is None:
            if len(self._required) > self.cached:
                self._required.clear()
            found = self._required[state] = self._compute_required(state)
        return found.copy()

    @abstractmethod
    def _compute_required(self, state: State) -> Counts:
        """Compute ``required``."""


def number_classes(classes: Classes) -> Classes:
    """Return the same classes (A,), numbered from 0 without gaps."""
    if classes.max(initial=0) > 8 * len(classes) + 1000:
        return np.unique(classes, return_inverse=True)[1].reshape(-1)
    there = np.bincount(classes) > 0
    numbers: Classes = np.cumsum(there) - 1
    return numbers[classes]
