"""The longest match: it goes on where the text went on, and begins where the context was last."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from chargen.evaluation.ngram import KneserNey
from chargen.model.counts import NGramCounts
from chargen.model.match import WIDE, WIDTH, LongestMatch

V, ORDER = 4, 3
TEXT = np.random.default_rng(5).integers(V - 1, size=60)
COUNTS = KneserNey(TEXT, V, ORDER).counts(ORDER)


def slow(ids: list[int]) -> list[tuple[int, int]]:
    """Return place and tokens followed after each of ids, by their definition."""
    text, place, followed, after = TEXT.tolist(), 0, 0, []
    for here, token in enumerate(ids, 1):
        if place and text[place] == token:
            place, followed = place + 1, followed + 1
        else:
            context = ids[max(0, here - ORDER + 1) : here]
            ends = range(ORDER - 1, len(text) + 1)
            seen = [end for end in ends if text[end - ORDER + 1 : end] == context]
            place, followed = max(seen, default=0), 0
        if place == len(text):
            place, followed = 0, 0
        after.append((place, followed))
    return after


def matched(model: NGramCounts, ids: list[int]) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    return model.advance(model.start(1), np.array([ids]))[0, :, -WIDTH:]


@given(st.lists(st.integers(0, V - 1), min_size=1, max_size=40))
def test_it_is_its_definition(ids: list[int]) -> None:
    assert matched(COUNTS, ids).tolist() == [list(pair) for pair in slow(ids)]


def test_it_expects_what_followed() -> None:
    start = 20
    state = matched(COUNTS, TEXT[start : start + 30].tolist())
    expected = np.array([token for token, _ in COUNTS.match.expected(state)])
    held = state[:, 1] > 3
    assert held.any()
    assert (expected[:-1][held[:-1]] == TEXT[start + 1 : start + 30][held[:-1]]).mean() > 0.7
    lengths = [
        COUNTS.match.expected(np.array([[5, n]]))[0][1] for n in (0, 1, 2, 3, 6, 7, 15, 31, 999)
    ]
    assert lengths == [0, 1, 1, 2, 2, 3, 4, 5, 5]
    assert COUNTS.match.expected(np.zeros((1, WIDTH), np.int64)) == [(-1, 0)]


def test_at_the_end_of_the_text_nothing_is_expected() -> None:
    text = np.array([0, 1, 2, 3, 1, 0])
    match = LongestMatch(text, np.array([6]))
    assert (
        match.advance(np.zeros((1, WIDTH), np.int64), np.array([[1]]), np.array([[0]])).sum() == 0
    )
    inside = LongestMatch(text, np.array([5]))
    state = inside.advance(np.zeros((1, WIDTH), np.int64), np.array([[1, 0]]), np.array([[1, 0]]))
    assert state.tolist() == [[[5, 0], [0, 0]]]


def test_counts_of_single_tokens_have_no_match() -> None:
    model = KneserNey(TEXT, V, 1).counts(1)
    assert matched(model, TEXT[:20].tolist()).sum() == 0


@given(st.integers(1, 30), st.integers(0, 1000))
def test_many_texts_at_once_are_as_each_alone(steps: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    ids = draw.integers(V - 1, size=(WIDE + 4, steps))
    ids[:8] = [np.resize(TEXT[start:], steps) for start in range(40, 56, 2)]
    before = COUNTS.advance(COUNTS.start(len(ids)), draw.integers(V, size=(len(ids), 2)))[:, -1]
    together = COUNTS.advance(before, ids)
    for row, own, state in zip(together, ids, before, strict=True):
        assert np.array_equal(COUNTS.advance(state[None], own[None])[0], row)
