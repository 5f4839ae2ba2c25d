"""Constraints: a rule together with no-copy, rules that cannot be combined, wrong arguments."""

from __future__ import annotations

import functools
import random
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chargen.config import SampleConfig
from chargen.errors import ChargenError, ConfigError
from chargen.sampling.constraints import Constraint, make_constraint
from chargen.sampling.constraints.automata import alphabet_of
from chargen.sampling.constraints.copies import build_index
from chargen.sampling.generated import Generated
from chargen.sampling.sampler import Sampler
from chargen.tokenizers import build_tokenizer
from tests.conftest import write
from tests.hashing import hashing
from tests.sampling.constraints.test_copies import longest_copy, source
from tests.sampling.constraints.test_wordlist import LIST, keeps_to_list
from tests.sampling.constraints.walks import KINDS, no_copy, tokenizer, walk

PATTERN = r"A[a-c]{1,3}( [abcé']{1,5}){2,5}\."


@functools.cache
def with_pattern(kind: str) -> Constraint:
    return no_copy(source()[1], 7, tokenizer(kind), regex=PATTERN)


@functools.cache
def with_words(kind: str) -> Constraint:
    return no_copy(source()[1], 7, tokenizer(kind), words=LIST)


@pytest.mark.parametrize("kind", KINDS)
@given(length=st.integers(9, 25), seed=st.integers(0, 999))
@settings(max_examples=15, deadline=None)
def test_a_pattern_holds_and_nothing_is_copied(kind: str, length: int, seed: int) -> None:
    text, complete = walk(with_pattern(kind), length, random.Random(seed))
    assert longest_copy(text, source()[0]) < 7
    assert complete == (re.fullmatch(PATTERN, text) is not None)


@pytest.mark.parametrize("kind", KINDS)
@given(length=st.integers(0, 40), seed=st.integers(0, 999))
@settings(max_examples=15, deadline=None)
def test_words_are_listed_and_nothing_is_copied(kind: str, length: int, seed: int) -> None:
    text, complete = walk(with_words(kind), length, random.Random(seed))
    assert longest_copy(text, source()[0]) < 7
    assert complete
    assert keeps_to_list(text)
    assert len(text) == length


def test_most_texts_under_two_rules_are_complete() -> None:
    ends = Counter(walk(with_pattern("char"), 25, random.Random(seed))[1] for seed in range(200))
    assert ends[True] > 190


# -- a text that cannot be completed ------------------------------------------------------

STUCK = "(xy)?ab{3}c"  # abbb is a copy


@functools.cache
def stuck() -> tuple[Sampler, Constraint]:
    used = build_tokenizer("char", "abcxy", 0)
    sampler = hashing(used)
    return sampler, no_copy(build_index(["abbb"], 4, 2), 4, used, regex=STUCK)


@pytest.mark.parametrize("seed", range(5))
def test_a_text_that_cannot_be_completed_says_so_and_violates_no_rule(seed: int) -> None:
    sampler, constraint = stuck()
    config = SampleConfig(length=20, seed=seed)
    ((sample, _),), *_ = sampler.decode(sampler.read(""), config, 1, constraint)
    assert sample.finish_reason == "dead_end"
    assert sample.text in ("abb", "xyabb")
    pieces: list[str] = []
    with pytest.raises(ChargenError, match="the text ended before it met the constraints"):
        for piece in sampler.stream(sampler.read(""), config, constraint):
            pieces.append(piece)
    assert "".join(pieces) == sample.text


def test_one_text_of_a_batch_may_end_early() -> None:
    used = build_tokenizer("char", "abc", 0)
    rules = no_copy(build_index(["abbb"], 4, 2), 4, used, regex="(ca){9}|ab{3}c")
    sampler = hashing(used)
    config = SampleConfig(length=27, seed=1)
    first, *_ = sampler.decode(sampler.read(""), config, 20, rules)
    found = {(sample.text, sample.finish_reason) for sample, _ in first}
    assert found == {("ca" * 9, "complete"), ("abb", "dead_end")}
    assert [sample.number for sample, _ in first] == list(range(20))


# -- arguments ----------------------------------------------------------------------------


def test_a_regex_and_words_cannot_be_combined() -> None:
    message = "regex and words cannot be combined; leave one out"
    with pytest.raises(ConfigError, match=f"^{message}$"):
        make_constraint(tokenizer("char"), regex="a+", words=["a"])
    with pytest.raises(ConfigError, match=f"^{message}$"):
        hashing().generate(regex="a+", words=["a"], no_copy=16)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"regex": 5}, "regex is 5; allowed: a regular expression"),
        ({"words": "ab"}, "words is 'ab'; allowed: a list of words, or the path of a file of them"),
        ({"words": 5}, "words is 5; allowed: a list of words"),
        ({"words": ["a", 5]}, "words is 5; allowed: a list of words"),
        ({"words": Path("nothing")}, "cannot read 'nothing'"),
        ({"no_copy": 0}, "no-copy is 0; allowed: 1 or more"),
        ({"no_copy": "20"}, "no-copy is '20'; allowed: 1 or more"),
        ({"no_copy": True}, "no-copy is True; allowed: 1 or more"),
        ({"no_copy": 20}, "no-copy needs copies.safetensors in '.', which is not there; train"),
        ({"regex": "a", "length": 0}, "length is 0; allowed: 1 or more, the shortest text that"),
        ({"regex": "a", "beam": 2}, "beam search takes no regex, words or no-copy; leave one out"),
    ],
)
def test_a_wrong_rule_is_named(rules: dict[str, Any], message: str) -> None:
    with pytest.raises(ChargenError) as caught:
        hashing().generate_batch(**rules)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_words_come_from_a_list_or_a_file() -> None:
    write("words.txt", "ab\ncd ef\n")
    texts: list[list[Generated]] = [
        hashing().generate_batch(words=words, length=80, seed=1)
        for words in (["ab", "cd ef"], ("ef", "cd", "ab"), Path("words.txt"))
    ]
    assert texts[0] == texts[1] == texts[2]
    assert set(re.findall("[a-h]+", texts[0][0].text)) <= {"ab", "cd", "ef"}


def test_the_alphabet_has_the_characters_that_ids_can_spell() -> None:
    assert alphabet_of(build_tokenizer("char", "cab", 0)).text == "abc"
    assert len(alphabet_of(tokenizer("byte")).text) == 0x110000 - 0x800
    assert alphabet_of(tokenizer("bpe")) is alphabet_of(tokenizer("unigram"))
    assert alphabet_of(tokenizer("byte")).find("\ue000") == 0xE000 - 0x800
