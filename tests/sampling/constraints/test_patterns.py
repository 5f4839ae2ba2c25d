"""Regular expressions mean what they mean in `re`, and every allowed text can be completed."""

from __future__ import annotations

import random
import re
import time
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chargen.errors import ConfigError
from chargen.sampling.constraints import Constraint, automata, make_constraint, patterns
from chargen.sampling.constraints.tokens import code_range
from chargen.tokenizers import Tokenizer, build_tokenizer
from tests.sampling.constraints.walks import KINDS, LETTERS, spell, texts, tokenizer, walk

LEAVES = st.sampled_from(
    ["a", "b", "c", "ab", ".", "[ab]", "[^a]", r"\w", r"\d", r"\s", r"\W", "(?i:a)", "(?i:[b-c])",
     "(?s:.)", "é", "[^a-z]", "🎉", "(?a:\\w)", "", "A|b", "(?-i:a)", r"\n", r"\.", "[A-]"]
)  # fmt: skip
PATTERNS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds("{}{}".format, inner, inner),
        st.builds("(?:{}|{})".format, inner, inner),
        st.builds("(?:{})*".format, inner),
        st.builds("(?:{})+?".format, inner),
        st.builds("({})?".format, inner),
        st.builds("(?:{}){{1,3}}".format, inner),
        st.builds("(?:{}){{0,2}}?".format, inner),
        st.builds("(?i:{})".format, inner),
    ),
    max_leaves=6,
)


def regex_constraint(pattern: str, used: Tokenizer) -> Constraint:
    return make_constraint(used, regex=pattern)


@pytest.mark.parametrize("kind", KINDS)
@given(pattern=PATTERNS, length=st.integers(0, 9), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_every_walk_matches(kind: str, pattern: str, length: int, seed: int) -> None:
    constraint = regex_constraint(pattern, tokenizer(kind))
    if length < constraint.shortest:
        with pytest.raises(ConfigError, match=f"allowed: {constraint.shortest} or more"):
            constraint.require(length)
        assert not constraint.allowed(constraint.start(), length).any()
        return
    constraint.require(length)
    for number in range(3):
        text, complete = walk(constraint, length, random.Random(seed + number))
        assert complete
        assert re.fullmatch(pattern, text)


@given(pattern=PATTERNS)
@settings(max_examples=60, deadline=None)
def test_exactly_the_matching_texts_are_allowed(pattern: str) -> None:
    used = build_tokenizer("char", "aB\né", 0)
    try:
        constraint = regex_constraint(pattern, used)
    except ConfigError:
        assert not any(re.fullmatch(pattern, text) for text in texts("aB\né", 6))
        return
    language = [text for text in texts("aB\né", 4) if re.fullmatch(pattern, text)]
    assert [text for text in texts("aB\né", 4) if spell(constraint, text)] == language
    assert constraint.shortest == (len(language[0]) if language else constraint.shortest)
    assert language or constraint.shortest > 4


@pytest.mark.parametrize("kind", ["byte", "unigram", "bpe"])
@given(pattern=PATTERNS, text=st.text(LETTERS, max_size=5))
@settings(max_examples=25, deadline=None)
def test_every_tokenizer_allows_the_matching_texts(kind: str, pattern: str, text: str) -> None:
    constraint = regex_constraint(pattern, tokenizer(kind))
    assert spell(constraint, text) == (re.fullmatch(pattern, text) is not None)


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        (r"\d{4}-\d\d-\d\d", "2026-11-21", True),
        (r"\d{4}-\d\d-\d\d", "2026-11-2", False),
        (r"^abc$", "abc", True),
        (r"\Aabc\Z", "abc", True),
        (r"a^b|c", "ab", False),
        (r"a^b|c", "c", True),
        (r"(?:ab$|a)*", "aab", True),
        (r"^$", "", True),
        (r"(?P<name>a)(?#a comment)b", "ab", True),
        (r"(?x) a  b # and so on", "ab", True),
        (r"(?i)STRASSE", "strasse", True),
        (r"[[:alpha:]]", "a]", True),
        (r"(a?){3}b{2,}", "aabbb", True),
        (r"[^\W\d_]+", "été", True),
        (r"[^\W\d_]+", "a1", False),
        (r"\u00e9\x41\N{BULLET}", "éA•", True),
        (r".{0,200}", "x" * 200, True),
        (r".{0,200}", "x" * 201, False),
    ],
)
def test_patterns_mean_what_re_means(pattern: str, text: str, matches: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of sets in sets
        assert matches == (re.fullmatch(pattern, text) is not None)
    for used in (build_tokenizer("char", text + pattern, 0), tokenizer("byte")):
        assert spell(regex_constraint(pattern, used), text) == matches


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("a(?=b)", r"regex is 'a\(\?=b\)', which has look-around; allowed: sets, groups"),
        ("(?<!a)b", "look-around"),
        ("a(?!)", "look-around"),
        (r"(a)\1", "back-reference"),
        ("(?P<x>a)(?P=x)", "back-reference"),
        ("(a)?(?(1)b|c)", "a condition on a group"),
        ("(?>a)", "an atomic group"),
        ("a++", "a possessive repeat"),
        (r"a\b", r"has \\b, which looks around"),
        (r"\Ba", r"has \\B"),
        ("(?m)^a", "anchors lines"),
        ("a$\n", "more after the anchor of its end"),
        ("$^", "more after the anchor of its end"),
        ("(a", r"cannot be read: missing \), unterminated subpattern at position 0; write it as"),
        ("[z-a]", "bad character range"),
        ("a{4000000000}", "needs more than 20,000 states"),
        ("((a{100}){100}){100}", "needs more than 20,000 states"),
        ("(" * 9000 + ")" * 9000, "nested too deeply"),
        ("xéz", "needs characters outside the model's vocabulary: 'x', 'z'$"),
        ("[x-z]", "matches no text of the model's characters"),
        ("a[^\\s\\S]", "matches no text"),
    ],
)
def test_a_pattern_that_is_not_supported_is_refused_at_once(pattern: str, message: str) -> None:
    begun = time.monotonic()
    with pytest.raises(ConfigError, match=message) as caught:
        regex_constraint(pattern, tokenizer("char"))
    assert time.monotonic() - begun < 2
    assert "\n" not in str(caught.value).replace("a$\n", "") or pattern == "a$\n"


def test_too_many_sets_for_all_of_unicode_are_refused() -> None:
    pattern = "".join(f"[{chr(code)}{chr(code + 1)}]" for code in range(0x4E00, 0x4F00 + 100))
    text = "".join(chr(code) for code in range(0x4E00, 0x4F00 + 100))
    with pytest.raises(ConfigError, match=r"\.\.\.', which has 356 different sets of characters"):
        regex_constraint(pattern, tokenizer("byte"))
    assert spell(regex_constraint(pattern, build_tokenizer("char", text, 0)), text)


def test_a_pattern_whose_automaton_is_exponential_does_no_harm() -> None:
    pattern = "(a|b)*a(a|b){30}"
    constraint = regex_constraint(pattern, build_tokenizer("char", "ab", 0))
    for seed in range(20):
        text, complete = walk(constraint, 200, random.Random(seed))
        assert complete
        assert re.fullmatch(pattern, text)


def test_caches_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(automata, "CACHED", 3)
    constraint = regex_constraint("(a|b)*a(a|b){5}", build_tokenizer("char", "ab", 0))
    (rule,) = constraint.rules
    rule._most = 4
    for seed in range(20):
        assert walk(constraint, 40, random.Random(seed))[1]
        assert len(rule._masks) <= 4


def test_states_of_many_nodes_are_not_kept_by_the_thousand() -> None:
    constraint = regex_constraint("(a|b)*a(a|b){500}", build_tokenizer("char", "ab", 0))
    assert walk(constraint, 3000, random.Random(0))[1]
    (rule,) = constraint.rules
    assert isinstance(rule.automaton, patterns.Pattern)
    nodes = sum(len(state or ()) for state in rule.automaton._steps.values())
    assert nodes < 20 * patterns.CACHED_NODES
    assert len(rule._masks) < 1000


def test_masks_are_shared_and_cannot_be_changed() -> None:
    constraint = regex_constraint("a*", tokenizer("char"))
    mask = constraint.allowed(constraint.start(), 5)
    assert mask is constraint.allowed(constraint.start(), 6)
    with pytest.raises(ValueError, match="read-only"):
        mask[0] = True


def test_a_byte_is_allowed_only_where_a_character_begins_so() -> None:
    constraint = regex_constraint("é|🎉x|日", tokenizer("byte"))
    state = constraint.start()
    assert np.flatnonzero(constraint.allowed(state, 9)).tolist() == [0xC3, 0xE6, 0xF0]
    assert np.flatnonzero(constraint.allowed(state, 1)).tolist() == [0xC3, 0xE6]
    state = constraint.advance(state, 0xF0)
    assert not constraint.is_complete(state)
    assert np.flatnonzero(constraint.allowed(state, 2)).tolist() == [0x9F]
    assert not constraint.allowed(state, 1).any()


def test_any_text_in_bytes_is_valid_utf8() -> None:
    constraint = regex_constraint("(?s:.*)", tokenizer("byte"))
    for seed in range(30):
        state, data, rng = constraint.start(), b"", random.Random(seed)
        while len(data) < 40 or not constraint.is_complete(state):
            token = int(rng.choice(np.flatnonzero(constraint.allowed(state, 50))))
            state, data = constraint.advance(state, token), data + bytes([token])
        data.decode()


def test_ranges_of_utf8_are_those_of_python() -> None:
    begun: dict[bytes, list[int]] = {}
    codes = (*range(0x80, 0xD800, 7), *range(0xE000, 0x110000, 61), 0x7FF, 0x800, 0xFFFF, 0x10FFFF)
    for code in sorted(codes):
        data = chr(code).encode()
        for end in range(1, len(data) + 1):
            begun.setdefault(data[:end], []).append(code)
    for begin, found in begun.items():
        low, high = code_range(begin)
        assert low <= found[0] <= found[-1] < high
    for bad in (b"\x80", b"\xc0", b"\xf5", b"\xc3\x41", b"\xc3\xa9\xa9", b"\xe0\x80", b"\xf4\x90"):
        low, high = code_range(bad)
        assert low >= high
