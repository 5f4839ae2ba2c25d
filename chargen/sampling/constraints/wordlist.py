"""Word lists as automata: texts with words of a list only.

A word is a run of letters, combining marks and digits; an apostrophe between two of them belongs
to the word. The text between words is not restricted. In the sorted list, the words that begin
with the same characters are a range.
"""

from __future__ import annotations

import functools
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import groupby, zip_longest

import numpy as np
from numpy.typing import NDArray

from chargen.errors import ConfigError
from chargen.sampling.constraints.automata import (
    NEVER,
    Alphabet,
    CachedAutomaton,
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
    """Return the lower case of a character, if that is one character."""
    lower = character.lower()
    return lower if len(lower) == 1 else character


def words_of(text: str) -> Iterator[str]:
    """Yield the words of a text in lower case."""
    if text.isascii() and text.isalpha():  # the common case
        yield text.lower()
        return
    parts = ["".join(map(fold, run)) for _, run in groupby(text, is_word_character)]
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


class WordList(CachedAutomaton):
    """Texts with words of a list only, in upper or lower case.

    A state is the word so far, and whether an apostrophe follows it: only the next character
    tells whether the apostrophe belongs to the word.

    Args:
        words: entries; each word of an entry with several counts alone.
        alphabet: the characters of the model.

    Raises:
        ConfigError: there is no word, or none of the model's characters only.
    """

    def __init__(self, words: Iterable[str], alphabet: Alphabet) -> None:
        listed = sorted({word for entry in words for word in words_of(entry)})
        folded, is_word = _folded(alphabet.text)
        known = set(folded)
        self._words = [word for word in listed if known.issuperset(word)]
        if not self._words:
            raise ConfigError(
                f"words has {len(listed):,} words, none of the model's characters only; "
                "give other words"
            )
        self._lengths = np.array([len(word) for word in self._words], np.int32)
        super().__init__(alphabet, self._classify(folded, is_word))
        self._letters = [folded[index] for index in self.examples.tolist()]  # (K,)
        self._is_word = is_word[self.examples]  # (K,)
        self._kind_of = {
            letter: kind
            for kind, letter in enumerate(self._letters)
            if letter in self._used or letter == APOSTROPHE
        }

    def _classify(self, folded: str, is_word: NDArray[np.bool_]) -> Classes:
        """Return a class for each letter of the words, for apostrophes and for the rest (A,)."""
        self._used = set().union(*self._words)
        codes = np.frombuffer(folded.encode("utf-32-le"), "<u4").astype(np.int64)
        wanted = np.array([ord(c) for c in self._used | {APOSTROPHE}], np.int64)
        return number_classes(np.where(np.isin(codes, wanted), codes + 2, is_word))

    def start(self, before: str = "") -> State:
        """Return the state outside of words; a prompt makes no difference."""
        return OUTSIDE

    def step(self, state: State, kind: int) -> State:
        """Return the state after a character of a class; None if no text continues so."""
        if self.required(state)[kind] >= NEVER:
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

    def _compute_required(self, state: State) -> Counts:
        word, marked = state
        required = np.full(len(self.examples), NEVER, np.int32)
        if not word or self._has(word):
            required[~self._is_word] = 1
        for letter, count in self._following(word + APOSTROPHE * marked):
            if letter in self._kind_of:
                kind = self._kind_of[letter]
                least = min(count, required[kind]) if letter == APOSTROPHE else count
                required[kind] = least
        return required

    def _following(self, begin: str) -> Iterator[tuple[str, int]]:
        """Yield each next character of some word, with the fewest characters to a word's end."""
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
        index = bisect_left(self._words, word)
        return self._words[index : index + 1] == [word]


@functools.lru_cache(maxsize=2)  # all of Unicode takes half a second
def _folded(text: str) -> tuple[str, NDArray[np.bool_]]:
    """Return an alphabet in lower case, and which characters belong to words (A,)."""
    folded = "".join(APOSTROPHE if c in APOSTROPHES else fold(c) for c in text)
    return folded, np.array([is_word_character(c) for c in text], np.bool_)
