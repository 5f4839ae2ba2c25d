"""Banned characters and stop texts are part of a rule: no text that they end violates it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chargen.config import SampleConfig
from chargen.errors import ConfigError
from chargen.sampling.constraints import Constraint, make_constraint
from chargen.sampling.constraints.wordlist import words_of
from chargen.sampling.endings import find_stop
from chargen.sampling.generated import Generated
from chargen.tokenizers import build_tokenizer
from tests.hashing import hashing
from tests.sampling.constraints.test_patterns import PATTERNS
from tests.sampling.constraints.walks import KINDS, spell, texts, tokenizer

SMALL = "aBé\n"
BANS = st.text(SMALL, max_size=2)
STOPS = st.lists(st.text(SMALL, min_size=1, max_size=3), max_size=3).map(tuple)
WORDS = st.lists(st.text("aBé'", min_size=1, max_size=4), min_size=1, max_size=4)


def allowed(text: str, ban: str, stop: tuple[str, ...]) -> bool:
    return not set(text) & set(ban) and not any(one in text for one in stop)


def check(
    constraint: Constraint, letters: str, longest: int, language: list[str], stop: tuple[str, ...]
) -> None:
    """Compare the masks with a language; a text may also end with a stop text."""
    possible = [text for text in texts(letters, longest) if spell(constraint, text)]
    assert [text for text in possible if find_stop(text, stop) is None] == language
    assert {text[: find_stop(text, stop)] for text in possible} == set(language)


def generated(kind: str, **settings: Any) -> list[Generated]:
    """Generate some texts, without the rare characters that bytes can spell."""
    used = build_tokenizer("char", SMALL, 0) if kind == "char" else tokenizer(kind)
    return hashing(used).generate_batch("a", 6, **settings)


@given(pattern=PATTERNS, ban=BANS, stop=STOPS)
@settings(max_examples=300, deadline=None)
def test_exactly_the_matches_without_banned_characters_and_stop_texts_are_possible(
    pattern: str, ban: str, stop: tuple[str, ...]
) -> None:
    language = [t for t in texts(SMALL, 5) if re.fullmatch(pattern, t) and allowed(t, ban, stop)]
    used = build_tokenizer("char", SMALL, 0)
    try:
        constraint = make_constraint(used, SampleConfig(ban=ban, stop=stop), regex=pattern)
    except ConfigError as error:
        assert not language
        assert re.search("needs|matches no text", str(error))
        return
    check(constraint, SMALL, 5, language, stop)
    shortest = min(map(len, language), default=6)
    assert constraint.shortest == shortest or constraint.shortest > 5


@pytest.mark.parametrize("kind", KINDS)
@given(pattern=PATTERNS, ban=BANS, stop=STOPS, length=st.integers(0, 9), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_every_text_matches_however_it_ends(
    kind: str, pattern: str, ban: str, stop: tuple[str, ...], length: int, seed: int
) -> None:
    ban = "".join(filter(str.isascii, ban)) if kind != "char" else ban
    try:
        found = generated(kind, regex=pattern, ban=ban, stop=stop, length=length, seed=seed)
    except ConfigError:
        few = (text for text in texts(SMALL, min(length, 5)) if re.fullmatch(pattern, text))
        assert not any(allowed(text, ban, stop) for text in few) or set(ban) >= set(SMALL)
        return
    for text in found:
        assert text.finish_reason in ("complete", "length", "stop")
        assert re.fullmatch(pattern, text.text)
        assert allowed(text.text, ban, stop)
        assert len(text.text) == length or text.finish_reason != "length"


def keeps_to(words: list[str], text: str) -> bool:
    return set(words_of(text)) <= {word for entry in words for word in words_of(entry)}


@given(words=WORDS, ban=BANS, stop=STOPS)
@settings(max_examples=200, deadline=None)
def test_exactly_the_texts_of_words_without_stop_texts_are_possible(
    words: list[str], ban: str, stop: tuple[str, ...]
) -> None:
    letters = "abB'é "
    used = build_tokenizer("char", letters, 0)
    language = [t for t in texts(letters, 4) if keeps_to(words, t) and allowed(t, ban, stop)]
    try:
        constraint = make_constraint(used, SampleConfig(ban=ban, stop=stop), words=words)
    except ConfigError as error:
        assert "none of the model's characters only" in str(error)
        assert not any(any(map(str.isalpha, text)) for text in language)
        return
    check(constraint, letters, 4, language, stop)


@pytest.mark.parametrize("kind", KINDS)
@given(words=WORDS, ban=BANS, stop=STOPS, length=st.integers(0, 12), seed=st.integers(0, 99))
@settings(max_examples=8, deadline=None)
def test_every_text_keeps_to_the_words_however_it_ends(
    kind: str, words: list[str], ban: str, stop: tuple[str, ...], length: int, seed: int
) -> None:
    ban = "".join(filter(str.isascii, ban)) if kind != "char" else ban
    try:
        found = generated(kind, words=words, ban=ban, stop=stop, length=length, seed=seed)
    except ConfigError as error:
        assert re.match("words has|ban is", str(error))
        return
    for text in found:
        assert text.finish_reason in ("complete", "length", "stop")
        assert keeps_to(words, text.text)
        assert allowed(text.text, ban, stop)


# -- where a text stops -------------------------------------------------------------------


def ends(**settings: Any) -> set[tuple[str, str]]:
    used = build_tokenizer("char", "ywelos q\n", 0)
    found = hashing(used).generate_batch("", 40, **{"seed": 1, "length": 8, **settings})
    return {(text.text, text.finish_reason) for text in found}


def test_a_text_that_is_banned_or_cut_gives_way_to_another() -> None:
    pattern = "(yes|yellow)"
    both = {("yes", "complete"), ("yellow", "complete")}
    assert ends(regex=pattern) == ends(regex=pattern, stop="q", ban="q") == both
    for other in ({"ban": "s"}, {"stop": "s"}, {"stop": ("es", "q")}, {"stop": "yes"}):
        assert ends(regex=pattern, **other) == {("yellow", "complete")}
    assert ends(regex=pattern, stop="lo") == {("yes", "complete")}


def test_a_stop_text_ends_a_text_that_meets_the_rule() -> None:
    assert ends(regex="(yes)+", stop="sy") == {("yes", "complete")}
    assert ends(regex="e+s?", stop="s", length=2) == {("e", "stop"), ("ee", "length")}
    for text, reason in ends(words=["yes", "yellow"], stop="\n", length=30):
        assert reason in ("stop", "length")
        assert keeps_to(["yes", "yellow"], text)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"ban": "e"}, "needs banned characters: 'e'"),
        ({"stop": "e"}, r"matches no text without a stop text \('e'\); change one"),
        ({"stop": ("s", "l")}, r"matches no text without a stop text \('l', 's'\); change one"),
        ({"ban": "s", "stop": "ow"}, r"matches no text without a stop text \('ow'\); change one"),
    ],
)
def test_a_rule_that_no_text_can_keep_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^regex is 'yes|yellow', which {message}$"):
        ends(regex="yes|yellow", **given)


def test_long_stop_texts_are_read_in_a_moment_or_refused() -> None:
    long = "yel" * 333
    assert ends(regex="yes|yellow|(yel)*", stop=long, length=9)
    with pytest.raises(ConfigError, match="number of characters of stop is 1998; allowed: 1,000 "):
        ends(regex="yes|yellow", stop=2 * long)
    assert {reason for _, reason in ends(stop=2 * long)} == {"length"}
