from __future__ import annotations

import functools
import itertools
import random
import re
import time
import unicodedata
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chargen.checkpoint import COPIES
from chargen.constraints import (
    Constraint,
    automata,
    both,
    code_range,
    no_copy_constraint,
    patterns,
    regex_constraint,
    words_constraint,
)
from chargen.constraints.automata import alphabet_of
from chargen.constraints.copies import CopyIndex, build_index, load_index, polynomials, save_index
from chargen.constraints.wordlist import words_of
from chargen.errors import CheckpointError, ConfigError
from chargen.tokenizers import Tokenizer, build_tokenizer

KINDS = ["char", "byte", "unigram", "bpe"]
LETTERS = "abcAB 1.\n'é🎉"
BASE = "abc Ab a1. cab's ba\nabba cc. a'b é🎉 b\n" * 40


@functools.cache
def tokenizer(kind: str) -> Tokenizer:
    return build_tokenizer(kind, BASE, 330)


def walk(
    constraint: Constraint, length: int, draws: random.Random, before: str = ""
) -> tuple[str, bool]:
    """Draw any allowed id until the length is reached or nothing is allowed; check each promise."""
    used = constraint.tokenizer
    state, data, left = constraint.start(before), b"", length
    while left > 0:
        ids = np.flatnonzero(constraint.allowed(state, left))
        if not len(ids):
            break
        if used.kind != "char":  # most ids are bytes of rare characters
            ids = np.array([i for i in ids if used.pieces[i] in BASE.encode()] or ids)
        token = int(draws.choice(ids))
        state = constraint.advance(state, token)
        data += used.pieces[token]
        left = length - len(data.decode("utf-8", "ignore"))
    assert left >= 0
    return data.decode(), constraint.is_complete(state)


def spell(constraint: Constraint, text: str) -> bool:
    """Tell whether a text can be written through the masks, with just its characters left."""
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


# -- regular expressions --------------------------------------------------------------------

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
def test_exactly_the_matching_texts_can_be_written(pattern: str) -> None:
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
def test_every_tokenizer_can_write_what_matches(kind: str, pattern: str, text: str) -> None:
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
        ("a$\n", "more behind the anchor of its end"),
        ("$^", "more behind the anchor of its end"),
        ("(a", r"cannot be read: missing \), unterminated subpattern at position 0; write it as"),
        ("[z-a]", "bad character range"),
        ("a{4000000000}", "needs more than 20,000 states"),
        ("((a{100}){100}){100}", "needs more than 20,000 states"),
        ("(" * 9000 + ")" * 9000, "nested too deeply"),
        ("xéz", "needs characters that the model never saw: 'x', 'z'$"),
        ("[x-z]", "matches no text that the model can write"),
        ("a[^\\s\\S]", "matches no text"),
    ],
)
def test_a_pattern_that_will_not_do_is_refused_at_once(pattern: str, message: str) -> None:
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


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(automata, "KEPT", 3)
    monkeypatch.setattr(patterns, "KEPT", 3)
    constraint = regex_constraint("(a|b)*a(a|b){5}", build_tokenizer("char", "ab", 0))
    constraint._kept = 4
    for seed in range(20):
        assert walk(constraint, 40, random.Random(seed))[1]
        assert len(constraint._views) <= 4


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
        state, data, draws = constraint.start(), b"", random.Random(seed)
        while len(data) < 40 or not constraint.is_complete(state):
            token = int(draws.choice(np.flatnonzero(constraint.allowed(state, 50))))
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


# -- words ------------------------------------------------------------------------------------

LIST = ["cab's", "ab", "abba", "Ba", "b", "é", "cc", "a-c", "a1", "b'a"]
WORD = re.compile("[\\w]+(?:['’][\\w]+)*")  # of these letters; in general \w lacks marks


def keeps_to_list(text: str) -> bool:
    listed = {word.lower() for entry in LIST for word in WORD.findall(entry)}
    return all(word.lower().replace("’", "'") in listed for word in WORD.findall(text))


@given(text=st.text(LETTERS + "’", max_size=8))
@settings(max_examples=200)
def test_texts_of_listed_words_and_no_others_can_be_written(text: str) -> None:
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


def test_words_that_cannot_be_written_are_left_out_or_refused() -> None:
    used = build_tokenizer("char", "ab ", 0)
    constraint = words_constraint(["ab", "ax"], used)
    assert spell(constraint, "ab ab") and not spell(constraint, "a")
    with pytest.raises(ConfigError, match="none of the 2 words can be written"):
        words_constraint(["xy", "z"], used)
    with pytest.raises(ConfigError, match="no word is there to be written"):
        words_constraint(["--", ""], used)


def test_a_hundred_thousand_words_are_read_in_a_moment() -> None:
    draws = random.Random(1)
    words = ["".join(draws.choices("etaoinshr", k=draws.randint(3, 12))) for _ in range(100_000)]
    used = build_tokenizer("char", "etaoinshr .,", 0)
    begun = time.monotonic()
    text, complete = walk(words_constraint(words, used), 300, draws)
    assert time.monotonic() - begun < 5  # it takes about half a second
    assert complete and set(text.replace(".", " ").replace(",", " ").split()) <= set(words)


# -- copies -----------------------------------------------------------------------------------


def longest_copy(text: str, source: str) -> int:
    return max(
        (
            end - start
            for start in range(len(text))
            for end in range(start, len(text) + 1)
            if text[start:end] in source
        ),
        default=0,
    )


@functools.cache
def source() -> tuple[str, CopyIndex]:
    draws = random.Random(5)
    text = "".join(draws.choices("ab", k=60)) + "".join(draws.choices("abcé\n", k=60))
    return text, build_index([text], len(text), 5)


@pytest.mark.parametrize("kind", KINDS)
@given(n=st.integers(5, 9), seed=st.integers(0, 999))
@settings(max_examples=15, deadline=None)
def test_no_walk_copies(kind: str, n: int, seed: int) -> None:
    text, index = source()
    constraint = no_copy_constraint(index, n, tokenizer(kind))
    written, complete = walk(constraint, 60, random.Random(seed))
    assert complete
    assert longest_copy(written, text) < n


def test_what_is_not_copied_may_be_written() -> None:
    text, index = source()
    forbidden = 0
    constraint = no_copy_constraint(index, 6, build_tokenizer("char", "abcé\nz", 0))
    draws = random.Random(3)
    for _ in range(2000):
        candidate = "".join(draws.choices("abcé\nz", k=6))
        if candidate in text:
            assert not spell(constraint, candidate)
        elif not any(candidate[i : i + 5] in text for i in range(2)):
            forbidden += not spell(constraint, candidate)
    assert forbidden <= 10  # two false positives in a row: about 1 in 10,000


def test_a_copy_that_begins_in_the_prompt_is_seen() -> None:
    text, index = source()
    constraint = no_copy_constraint(index, 8, tokenizer("char"))
    for begin in range(40):
        written, _ = walk(constraint, 20, random.Random(begin), text[begin : begin + 7])
        assert text[begin : begin + 7] + written[:1] not in text
    state = constraint.start(text[:30])  # has more than is allowed already
    assert not constraint.allowed(state, 5)[constraint.tokenizer.encode(text[30])[0]]


def test_where_all_is_copied_the_text_ends() -> None:
    text = "aaaaaaaaaa"
    constraint = no_copy_constraint(build_index([text], 10, 3), 4, build_tokenizer("char", "a", 0))
    assert walk(constraint, 10, random.Random(0)) == ("aaa", True)


@given(
    text=st.text("ab\né🎉", max_size=200),
    window=st.integers(1, 20),
    cuts=st.lists(st.integers(0, 400), max_size=5),
    as_bytes=st.booleans(),
)
def test_every_window_is_found_however_the_text_is_cut(
    text: str, window: int, cuts: list[int], as_bytes: bool
) -> None:
    data = text.encode() if as_bytes else text
    borders = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[a:b] for a, b in itertools.pairwise(borders)]
    index = build_index(pieces, len(data), window)
    whole = build_index([text], len(data), window)
    assert np.array_equal(index.words, whole.words)
    assert index.windows == max(0, len(text) - window + 1)
    assert index.alphabet == "".join(sorted(set(text)))
    codes = np.array([ord(character) for character in text], np.uint32)
    assert index.holds(polynomials(codes, window)).all()
    assert all(map(index.holds_one, polynomials(codes, window).tolist()))


@given(codes=st.lists(st.integers(0, 0x10FFFF), max_size=30), window=st.integers(1, 20))
def test_polynomials_are_those_of_the_definition(codes: list[int], window: int) -> None:
    from chargen.constraints.copies import ALL, BASE

    expected = [
        sum(code * BASE ** (window - 1 - j) for j, code in enumerate(codes[i : i + window])) & ALL
        for i in range(len(codes) - window + 1)
    ]
    assert polynomials(np.array(codes, np.uint32), window).tolist() == expected


def test_other_windows_are_found_as_seldom_as_it_says() -> None:
    draws = np.random.default_rng(1)
    text = "".join(map(chr, draws.integers(97, 123, 200_000)))
    index = build_index([text], len(text), 16)
    assert index.words.nbytes <= 1.5 * len(text)
    sums = draws.integers(0, 1 << 64, 200_000, np.uint64)
    others = index.holds(sums).mean()
    assert list(map(index.holds_one, sums[:5000].tolist())) == index.holds(sums[:5000]).tolist()
    assert 0.006 < others < 0.014
    assert abs(index.false_positives - others) < 0.002


def test_an_index_is_kept_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no-copy needs copies.safetensors in .* train with"):
        load_index(tmp_path)
    _, index = source()
    save_index(tmp_path, index)
    again = load_index(tmp_path)
    assert np.array_equal(again.words, index.words)
    assert (again.window, again.alphabet, again.windows) == (5, index.alphabet, index.windows)
    data = bytearray((tmp_path / COPIES).read_bytes())
    data[-3] ^= 1
    (tmp_path / COPIES).write_bytes(data)
    with pytest.raises(CheckpointError, match="checksum"):
        load_index(tmp_path)


def test_an_index_that_is_none_is_noticed(tmp_path: Path) -> None:
    from chargen.checkpoint import write_tensors

    write_tensors(tmp_path / COPIES, {"words": np.zeros(0, np.uint64)}, {"kind": "copies"})
    with pytest.raises(CheckpointError, match="holds no index"):
        load_index(tmp_path)


def test_a_copy_shorter_than_the_window_cannot_be_seen() -> None:
    with pytest.raises(ConfigError, match="no-copy is 4; allowed: 5 or more characters"):
        no_copy_constraint(source()[1], 4, tokenizer("char"))


# -- several at once --------------------------------------------------------------------------


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
