"""No copies of the training text, and the index that detects them."""

from __future__ import annotations

import functools
import itertools
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chargen.errors import CheckpointError, ConfigError
from chargen.sampling.constraints.copies import (
    CopyIndex,
    build_index,
    load_index,
    polynomials,
    save_index,
)
from chargen.storage.checkpoint import COPIES
from chargen.tokenizers import build_tokenizer
from tests.sampling.constraints.walks import KINDS, no_copy, spell, tokenizer, walk


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
    rng = random.Random(5)
    text = "".join(rng.choices("ab", k=60)) + "".join(rng.choices("abcé\n", k=60))
    return text, build_index([text], len(text), 5)


@pytest.mark.parametrize("kind", KINDS)
@given(n=st.integers(5, 9), seed=st.integers(0, 999))
@settings(max_examples=15, deadline=None)
def test_no_walk_copies(kind: str, n: int, seed: int) -> None:
    text, index = source()
    constraint = no_copy(index, n, tokenizer(kind))
    generated, complete = walk(constraint, 60, random.Random(seed))
    assert complete
    assert longest_copy(generated, text) < n


def test_texts_without_copies_are_allowed() -> None:
    text, index = source()
    forbidden = 0
    constraint = no_copy(index, 6, build_tokenizer("char", "abcé\nz", 0))
    rng = random.Random(3)
    for _ in range(2000):
        candidate = "".join(rng.choices("abcé\nz", k=6))
        if candidate in text:
            assert not spell(constraint, candidate)
        elif not any(candidate[i : i + 5] in text for i in range(2)):
            forbidden += not spell(constraint, candidate)
    assert forbidden <= 10  # two false positives in a row: about 1 in 10,000


def test_a_copy_that_begins_in_the_prompt_is_found() -> None:
    text, index = source()
    constraint = no_copy(index, 8, tokenizer("char"))
    for begin in range(40):
        generated, _ = walk(constraint, 20, random.Random(begin), text[begin : begin + 7])
        assert text[begin : begin + 7] + generated[:1] not in text
    state = constraint.start(text[:30])  # a longer copy than is allowed
    assert not constraint.allowed(state, 5)[constraint.tokenizer.encode(text[30])[0]]


def test_where_every_character_completes_a_copy_the_text_ends() -> None:
    text = "aaaaaaaaaa"
    constraint = no_copy(build_index([text], 10, 3), 4, build_tokenizer("char", "a", 0))
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
    assert index.contains(polynomials(codes, window)).all()
    assert all(map(index.contains_one, polynomials(codes, window).tolist()))


@given(codes=st.lists(st.integers(0, 0x10FFFF), max_size=30), window=st.integers(1, 20))
def test_polynomials_are_those_of_the_definition(codes: list[int], window: int) -> None:
    from chargen.sampling.constraints.copies import ALL, BASE

    expected = [
        sum(code * BASE ** (window - 1 - j) for j, code in enumerate(codes[i : i + window])) & ALL
        for i in range(len(codes) - window + 1)
    ]
    assert polynomials(np.array(codes, np.uint32), window).tolist() == expected


def test_the_rate_of_false_positives_is_the_expected_one() -> None:
    rng = np.random.default_rng(1)
    text = "".join(map(chr, rng.integers(97, 123, 200_000)))
    index = build_index([text], len(text), 16)
    assert index.words.nbytes <= 1.5 * len(text)
    sums = rng.integers(0, 1 << 64, 200_000, np.uint64)
    others = index.contains(sums).mean()
    one_by_one = list(map(index.contains_one, sums[:5000].tolist()))
    assert one_by_one == index.contains(sums[:5000]).tolist()
    assert 0.006 < others < 0.014
    assert abs(index.false_positives - others) < 0.002


def test_an_index_is_saved_and_a_damaged_one_refused(tmp_path: Path) -> None:
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


def test_a_file_without_an_index_is_refused(tmp_path: Path) -> None:
    from chargen.storage.checkpoint import write_tensors

    write_tensors(tmp_path / COPIES, {"words": np.zeros(0, np.uint64)}, {"kind": "copies"})
    with pytest.raises(CheckpointError, match="holds no index"):
        load_index(tmp_path)


def test_a_copy_shorter_than_the_window_is_refused() -> None:
    with pytest.raises(ConfigError, match="no-copy is 4; allowed: 5 or more characters"):
        no_copy(source()[1], 4, tokenizer("char"))
