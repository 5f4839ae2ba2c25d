"""Several constraints at once."""

from __future__ import annotations

import functools
import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chargen.errors import ConfigError
from chargen.sampling.constraints import (
    Constraint,
    automata,
    both,
    no_copy_constraint,
    regex_constraint,
    words_constraint,
)
from chargen.sampling.constraints.automata import alphabet_of
from chargen.tokenizers import build_tokenizer
from tests.sampling.constraints.test_copies import longest_copy, source
from tests.sampling.constraints.test_patterns import PATTERNS
from tests.sampling.constraints.test_wordlist import LIST, keeps_to_list
from tests.sampling.constraints.walks import KINDS, spell, texts, tokenizer, walk


@given(one=PATTERNS, two=PATTERNS)
@settings(max_examples=40, deadline=None)
def test_two_patterns_allow_exactly_what_matches_both(one: str, two: str) -> None:
    used = build_tokenizer("char", "aB\né", 0)
    try:
        constraint = both(*(regex_constraint(pattern, used) for pattern in (one, two)))
    except ConfigError:
        constraint = None
    for text in texts("aB\né", 4):
        matches = bool(re.fullmatch(one, text) and re.fullmatch(two, text))
        assert (constraint is not None and spell(constraint, text)) == matches, text


@pytest.mark.parametrize("kind", KINDS)
@given(length=st.integers(9, 25), seed=st.integers(0, 999))
@settings(max_examples=8, deadline=None)
def test_three_kinds_at_once_leave_no_dead_end(kind: str, length: int, seed: int) -> None:
    text, _ = source()
    written, complete = walk(three(kind), length, random.Random(seed))
    assert complete
    assert re.fullmatch(THREE, written)
    assert keeps_to_list(written)
    assert longest_copy(written, text) < 7


THREE = r"A[a-c]{1,3}( [abcé']{1,5}){2,5}\."


@functools.cache
def three(kind: str) -> Constraint:
    used = tokenizer(kind)
    return both(
        regex_constraint(THREE, used),
        words_constraint(LIST, used),
        no_copy_constraint(source()[1], 7, used),
    )


def test_rules_that_contradict_each_other_are_refused() -> None:
    used = tokenizer("char")
    with pytest.raises(
        ConfigError, match="no text was found that .* keeps all constraints; loosen"
    ):
        both(regex_constraint("a+", used), regex_constraint("b+", used))
    one, two = regex_constraint("(aa)+", used), regex_constraint("(aaa)+", used)
    assert not both(one, two).allowed(both(one, two).start(), 5).any()
    assert both(regex_constraint("(aa)+", used), regex_constraint("(aaa)+", used)).shortest == 6


def test_one_rule_is_itself() -> None:
    constraint = regex_constraint("a", tokenizer("char"))
    assert both(constraint) is constraint


def test_a_hard_search_is_given_up_and_what_is_allowed_still_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(automata, "SEARCH", 3)
    monkeypatch.setattr(automata, "KEPT", 1)  # and ways are forgotten
    used = build_tokenizer("char", "ab", 0)
    constraint = both(regex_constraint("(a|b)*(aab){2}", used), regex_constraint("(.{7})+", used))
    for seed in range(20):
        text, complete = walk(constraint, 40, random.Random(seed))
        assert complete and text.endswith("aabaab") and len(text) % 7 == 0


def test_the_alphabet_is_what_ids_can_spell() -> None:
    assert alphabet_of(build_tokenizer("char", "cab", 0)).text == "abc"
    assert len(alphabet_of(tokenizer("byte")).text) == 0x110000 - 0x800
    assert alphabet_of(tokenizer("bpe")) is alphabet_of(tokenizer("unigram"))
    assert alphabet_of(tokenizer("byte")).find("\ue000") == 0xE000 - 0x800
