"""Word lists as automata: texts with words of a list only.

A word is a run of letters, combining marks and digits; an apostrophe between two of them belongs
to the word. The text between words is not restricted. In the sorted list, the words that begin
with the same characters are a range.
"""

from __future__ import annotations

import functools
import heapq
import re
import sys
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
    Classes,
    Counts,
    State,
    number_classes,
)
from chargen.sampling.constraints.stops import Rule, StopTexts

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


class WordList(Rule):
    """Texts with words of a list only, in upper or lower case, and without a stop text.

    A state is the word so far, and whether an apostrophe follows it: only the next character
    tells whether the apostrophe belongs to the word.

    Args:
        words: entries; each word of an entry with several counts alone.
        alphabet: the characters of the model that are not banned.
        stops: the stop texts; words with one in them are left out.

    Raises:
        ConfigError: there is no word, or none of the alphabet that has no stop text in it.
    """

    def __init__(self, words: Iterable[str], alphabet: Alphabet, stops: StopTexts) -> None:
        listed = sorted({word for entry in words for word in words_of(entry)})
        folded, is_word = _folded(alphabet.text)
        known = _known(folded, set().union(*listed))
        self._stops = stops
        self._columns = _columns_of_letters(folded, stops)
        self._places: dict[tuple[int, str], set[int]] = {}
        inside = ["".join(map(_letter, text)) for text in stops.texts]
        self._words = [
            word
            for word in listed
            if known.issuperset(word)
            and (not any(text in word for text in inside) or self._is_clear(word))
        ]
        if not self._words:
            left = ", without banned characters or stop texts" if alphabet.banned or inside else ""
            raise ConfigError(
                f"words has {len(listed):,} words, none of the model's characters only{left}; "
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

    def clear(self, state: State, place: int) -> int:
        """Return the fewest characters to the end of a word that complete no stop text.

        A search for the nearest end: it is known where no stop text is begun.
        """
        waiting, seen = [(self.distance(state), 0, state, place)], {(state, place)}
        while waiting:
            least, count, state, place = heapq.heappop(waiting)
            if place == 0 or least == -count:
                return least
            for letter in self._letters_after(state):
                after = self.step(state, self._kind_of[letter])
                for place_after in self._places_after(place, letter):
                    if (after, place_after) not in seen:
                        seen.add((after, place_after))
                        total = 1 - count + self.distance(after)
                        heapq.heappush(waiting, (total, count - 1, after, place_after))
        return NEVER

    def _letters_after(self, state: State) -> list[str]:
        """Return the letters that continue a word."""
        word, marked = state
        following = self._following(word + APOSTROPHE * marked)
        return [letter for letter, _ in following if letter in self._kind_of]

    def _places_after(self, place: int, letter: str) -> set[int]:
        """Return the places after a letter, in upper or lower case, that completes no stop text."""
        key = place, letter
        if key not in self._places:
            after = self._stops.after[place, self._columns.get(letter, [-1])]
            self._places[key] = set(after.tolist()) - {len(self._stops.begun)}
        return self._places[key]

    def _is_clear(self, word: str) -> bool:
        """Tell whether a word can be written in upper or lower case without a stop text."""
        places = {0}
        for letter in word:
            after = (self._places_after(place, letter) for place in places)
            places = set().union(*after)
        return bool(places)

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
    folded = "".join(map(_letter, text))
    return folded, np.array([is_word_character(c) for c in text], np.bool_)


def _known(folded: str, letters: set[str]) -> set[str]:
    """Return which letters an alphabet has; a set of all of Unicode would take half a second."""
    there = np.zeros(sys.maxunicode + 1, np.bool_)
    there[np.frombuffer(folded.encode("utf-32-le"), "<u4")] = True
    return {letter for letter in letters if there[ord(letter)]}


def _letter(character: str) -> str:
    return APOSTROPHE if character in APOSTROPHES else fold(character)


def _columns_of_letters(folded: str, stops: StopTexts) -> dict[str, list[int]]:
    """Return the columns of the stop texts of each letter in them, in upper and lower case."""
    columns: dict[str, list[int]] = {}
    for letter in set(map(_letter, "".join(stops.texts))):
        places = [found.start() for found in re.finditer(re.escape(letter), folded)]
        columns[letter] = sorted(set(stops.columns[places].tolist()))
    return columns
