"""Texts with words of a list only."""

from __future__ import annotations

import functools
import random
import re
import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chargen.errors import ConfigError
from chargen.sampling.constraints import Constraint, make_constraint
from chargen.sampling.constraints.wordlist import words_of
from chargen.tokenizers import Tokenizer, build_tokenizer
from tests.sampling.constraints.walks import KINDS, LETTERS, spell, texts, tokenizer, walk

LIST = ["cab's", "ab", "abba", "Ba", "b", "é", "cc", "a-c", "a1", "b'a"]
WORD = re.compile("[\\w]+(?:['’][\\w]+)*")  # of these letters; in general \w lacks marks


def words_constraint(words: list[str], used: Tokenizer) -> Constraint:
    return make_constraint(used, words=words)


def keeps_to_list(text: str) -> bool:
    listed = {word.lower() for entry in LIST for word in WORD.findall(entry)}
    return all(word.lower().replace("’", "'") in listed for word in WORD.findall(text))


@given(text=st.text(LETTERS + "’", max_size=8))
@settings(max_examples=200)
def test_exactly_the_texts_of_listed_words_are_allowed(text: str) -> None:
    used = build_tokenizer("char", LETTERS + "’", 0)
    assert spell(words_constraint(LIST, used), text) == keeps_to_list(text)


@pytest.mark.parametrize("kind", KINDS)
@given(length=st.integers(0, 30), seed=st.integers(0, 999))
@settings(max_examples=20, deadline=None)
def test_every_walk_keeps_to_the_list(kind: str, length: int, seed: int) -> None:
    text, complete = walk(words_of_kind(kind), length, random.Random(seed))
    assert complete
    assert len(text) == length
    assert keeps_to_list(text)


@functools.cache
def words_of_kind(kind: str) -> Constraint:
    return words_constraint(LIST, tokenizer(kind))


def test_all_short_texts_of_words_are_told_apart() -> None:
    constraint = words_constraint(LIST, build_tokenizer("char", "abAc' ", 0))
    for text in texts("abAc' ", 4):
        assert spell(constraint, text) == keeps_to_list(text), text


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("Hello, World", ["hello", "world"]),
        ("'tis don't dogs' o’clock", ["tis", "don't", "dogs", "o'clock"]),
        ("a'’b rock'n'roll", ["a", "b", "rock'n'roll"]),
        ("e\u0301te\u0301 İ ½ x_y", ["e\u0301te\u0301", "İ", "½", "x", "y"]),
        ("", []),
        ("--- '", []),
    ],
)
def test_a_line_is_cut_into_words(line: str, words: list[str]) -> None:
    assert list(words_of(line)) == words
    assert all(unicodedata.category(word[0])[0] in "LMN" for word in words)


def test_words_outside_the_vocabulary_are_left_out_or_refused() -> None:
    used = build_tokenizer("char", "ab ", 0)
    constraint = words_constraint(["ab", "ax"], used)
    assert spell(constraint, "ab ab") and not spell(constraint, "a")
    with pytest.raises(ConfigError, match="words has 2 words, none of the model's characters only"):
        words_constraint(["xy", "z"], used)
    with pytest.raises(ConfigError, match="words has 0 words, none of"):
        words_constraint(["--", ""], used)


def test_a_hundred_thousand_words_are_read_in_a_moment() -> None:
    rng = random.Random(1)
    words = ["".join(rng.choices("etaoinshr", k=rng.randint(3, 12))) for _ in range(100_000)]
    used = build_tokenizer("char", "etaoinshr .,", 0)
    begun = time.monotonic()
    text, complete = walk(words_constraint(words, used), 300, rng)
    assert time.monotonic() - begun < 5  # it takes about half a second
    assert complete and set(text.replace(".", " ").replace(",", " ").split()) <= set(words)
