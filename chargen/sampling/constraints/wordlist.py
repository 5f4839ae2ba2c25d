"""Texts of listed words only, as an automaton.

A word is letters, combining marks and digits in a row; an apostrophe belongs to it where such
characters stand on both sides. All between words is free. The list is a sorted one, in which
the words that begin with the same characters are a range.
"""

from __future__ import annotations

import functools
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import groupby, zip_longest

import numpy as np

from chargen.errors import ConfigError
from chargen.sampling.constraints.automata import (
    KEPT,
    NEVER,
    Alphabet,
    Automaton,
    Classes,
    Counts,
    State,
    number_classes,
)

APOSTROPHE = "'"
APOSTROPHES = "'\u2019"
OUTSIDE = ("", False)


def is_word_character(character: str) -> bool:
    """Tell whether a character is a letter, a combining mark or a digit (Unicode: L, M, N)."""
    return unicodedata.category(character)[0] in "LMN"


def fold(character: str) -> str:
    """Return what a character counts as: its small letter, if that is one character."""
    small = character.lower()
    return small if len(small) == 1 else character


def words_of(text: str) -> Iterator[str]:
    """Yield the words of a text, folded."""
    if text.isascii() and text.isalpha():  # as most lines of a list are
        yield text.lower()
        return
    parts = ["".join(map(fold, run)) for _, run in groupby(text, _sort_of)]
    word = ""
    for part, after in zip_longest(parts, parts[1:], fillvalue=""):
        if is_word_character(part[0]):
            word += part
        elif word and part in tuple(APOSTROPHES) and after and is_word_character(after[0]):
            word += APOSTROPHE
        elif word:
            yield word
            word = ""
    if word:
        yield word


def _sort_of(character: str) -> bool:
    return is_word_character(character)


class WordList(Automaton):
    """Texts whose every word is on a list, capital and small letters being the same.

    A state is the word so far and whether an apostrophe came after it, of which only the next
    character tells whether it belongs to the word.

    Raises:
        ConfigError: there is no word, or none that the model's characters can spell.
    """

    def __init__(self, words: Iterable[str], alphabet: Alphabet) -> None:
        listed = sorted({word for entry in words for word in words_of(entry)})
        folded, is_word = _folded(alphabet)
        known = set(folded)
        self._words = [word for word in listed if known.issuperset(word)]
        if not self._words:
            what = (
                f"none of the {len(listed):,} words can be" if listed else "no word is there to be"
            )
            raise ConfigError(f"words: {what} written with the model's characters; give others")
        self._lengths = np.array([len(word) for word in self._words], np.int32)
        super().__init__(alphabet, self._classify(folded, is_word))
        self._letters = [folded[place] for place in self.samples.tolist()]  # (K,)
        self._is_word = is_word[self.samples]  # (K,)
        self._kind_of = {
            letter: kind
            for kind, letter in enumerate(self._letters)
            if letter in self._used or letter == APOSTROPHE
        }
        self._needs: dict[State, Counts] = {}

    def _classify(
        self, folded: str, is_word: np.ndarray[tuple[int], np.dtype[np.bool_]]
    ) -> Classes:
        """Give a class to each letter of the words, to the apostrophes and to the rest (A,)."""
        self._used = set().union(*self._words)
        codes = np.frombuffer(folded.encode("utf-32-le"), "<u4").astype(np.int64)
        wanted = np.array([ord(c) for c in self._used | {APOSTROPHE}], np.int64)
        return number_classes(np.where(np.isin(codes, wanted), codes + 2, is_word))

    def start(self, before: str = "") -> State:
        """Return the state outside of words."""
        return OUTSIDE

    def step(self, state: State, kind: int) -> State:
        """Return the state after a character of a class; None if no text may go on so."""
        if self.needs(state)[kind] >= NEVER:
            return None
        word, marked = state
        letter = self._letters[kind]
        if self._is_word[kind]:
            return word + APOSTROPHE * marked + letter, False
        return (word, True) if letter == APOSTROPHE and word and not marked else OUTSIDE

    def distance(self, state: State) -> int:
        """Return the fewest characters to the end of a word; 0 outside of words."""
        word, marked = state
        if not word or (marked and self._has(word)):
            return 0
        low, high = self._range(word + APOSTROPHE * marked)
        if low == high:
            return NEVER
        return int(self._lengths[low:high].min()) - len(word) - int(marked)

    def needs(self, state: State) -> Counts:
        """Return for each class the fewest characters to an end through such a one (K,)."""
        found = self._needs.get(state)
        if found is None:
            if len(self._needs) > KEPT:
                self._needs.clear()
            found = self._needs[state] = self._count_needs(*state)
        return found.copy()

    def _count_needs(self, word: str, marked: bool) -> Counts:
        needs = np.full(len(self.samples), NEVER, np.int32)
        if not word or self._has(word):
            needs[~self._is_word] = 1
        for letter, far in self._following(word + APOSTROPHE * marked):
            if letter in self._kind_of:
                kind = self._kind_of[letter]
                needs[kind] = min(far, needs[kind]) if letter == APOSTROPHE else far
        return needs

    def _following(self, begin: str) -> Iterator[tuple[str, int]]:
        """Yield each character that goes on in some word, with the fewest to that word's end."""
        low, high = self._range(begin)
        low += low < high and self._words[low] == begin
        while low < high:
            letter = self._words[low][len(begin)]
            end = bisect_left(self._words, begin + chr(ord(letter) + 1), low, high)
            yield letter, int(self._lengths[low:end].min()) - len(begin)
            low = end

    def _range(self, begin: str) -> tuple[int, int]:
        """Return the range of the words that begin so."""
        if not begin:
            return 0, len(self._words)
        low = bisect_left(self._words, begin)
        return low, bisect_left(self._words, begin[:-1] + chr(ord(begin[-1]) + 1), low)

    def _has(self, word: str) -> bool:
        place = bisect_left(self._words, word)
        return self._words[place : place + 1] == [word]


def _folded(
    alphabet: Alphabet,
) -> tuple[str, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    return _folded_text(alphabet.text)


@functools.lru_cache(maxsize=2)  # all of Unicode takes half a second
def _folded_text(text: str) -> tuple[str, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """Return what each character counts as, and whether it is a word's (A,)."""
    folded = "".join(APOSTROPHE if c in APOSTROPHES else fold(c) for c in text)
    return folded, np.array([is_word_character(c) for c in text], np.bool_)
