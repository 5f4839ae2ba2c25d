"""Filters, each against its definition: on scores made by hand, and on any scores."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chargen.config import SampleConfig
from chargen.errors import ConfigError
from chargen.sampling.filters import (
    DryPenalty,
    Scores,
    apply_penalties,
    keep_low_surprisal,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    keep_typical,
    probabilities,
    sample_tokens,
    truncate,
)

PROBS = np.array([0.1, 0.4, 0.2, 0.3])
ROW = np.log(PROBS)[None]


def frequencies(scores: Scores, temperature: float, count: int = 4000) -> list[float]:
    uniforms = (np.arange(count) + 0.5) / count
    tokens = sample_tokens(np.repeat(scores, count, axis=0), temperature, uniforms)
    return [float(np.mean(tokens == token)) for token in range(scores.shape[1])]


def kept(scores: Scores) -> list[int]:
    (row,) = scores
    return [int(token) for token in np.flatnonzero(row > -np.inf)]


# -- sampling -----------------------------------------------------------------------------


def test_tokens_are_sampled_as_often_as_they_are_likely() -> None:
    assert frequencies(ROW, 1.0) == pytest.approx(PROBS, abs=1e-3)


def test_temperature_divides_the_scores() -> None:
    assert frequencies(ROW, 0.5) == pytest.approx(PROBS**2 / 0.3, abs=1e-3)
    roots = np.sqrt(PROBS)
    assert frequencies(ROW, 2.0) == pytest.approx(roots / roots.sum(), abs=1e-3)


def test_temperature_zero_takes_the_most_likely_token_whatever_the_random_number() -> None:
    assert frequencies(ROW, 0.0) == [0, 1, 0, 0]
    assert sample_tokens(np.zeros((1, 3)), 0.0, np.array([0.9])).tolist() == [0]


def test_the_edges_of_the_random_numbers_are_possible_tokens() -> None:
    scores = np.array([[-np.inf, 1.0, 2.0, -np.inf]] * 3)
    uniforms = np.array([0.0, np.nextafter(1, 0), 1.0])
    assert sample_tokens(scores, 0.8, uniforms).tolist() == [1, 2, 2]


@pytest.mark.parametrize("shift", [-1e4, 0, 1e4])
def test_large_scores_do_not_overflow(shift: float) -> None:
    assert frequencies(ROW + shift, 1.0) == pytest.approx(PROBS, abs=1e-3)


def test_each_row_has_its_own_random_number() -> None:
    rows = np.repeat(ROW, 3, axis=0)
    assert sample_tokens(rows, 1.0, np.array([0.05, 0.3, 0.95])).tolist() == [0, 1, 3]


# -- truncation ---------------------------------------------------------------------------


def test_top_k_keeps_exactly_k_the_lower_id_winning_ties() -> None:
    scores = np.array([[1.0, 3, 2, 3, 2]])
    assert [kept(keep_top_k(scores, k)) for k in (1, 2, 3, 4, 5, 9)] == [
        [1], [1, 3], [1, 2, 3], [1, 2, 3, 4], [0, 1, 2, 3, 4], [0, 1, 2, 3, 4],
    ]  # fmt: skip
    assert keep_top_k(scores, 2)[0, 3] == 3


@pytest.mark.parametrize(
    ("p", "answer"),
    [(0.05, [1]), (0.39, [1]), (0.41, [1, 3]), (0.69, [1, 3]), (0.71, [1, 2, 3]), (0.95, None)],
)
def test_top_p_keeps_the_fewest_that_reach_p(p: float, answer: list[int] | None) -> None:
    assert kept(keep_top_p(ROW, p)) == (answer or [0, 1, 2, 3])


@pytest.mark.parametrize(
    ("fraction", "answer"), [(0.2, [0, 1, 2, 3]), (0.3, [1, 2, 3]), (0.6, [1, 3]), (1.0, [1])]
)
def test_min_p_keeps_what_is_near_the_best(fraction: float, answer: list[int]) -> None:
    assert kept(keep_min_p(ROW, fraction)) == answer


def test_typical_keeps_a_surprisal_near_the_entropy() -> None:
    # entropy 1.28 nats; surprisal 2.30, 0.92, 1.61, 1.20: nearest 3 (.08), 2 (.33), 1 (.36)
    answers = {0.2: [3], 0.31: [2, 3], 0.49: [2, 3], 0.51: [1, 2, 3], 0.95: [0, 1, 2, 3]}
    for p, answer in answers.items():
        assert kept(keep_typical(ROW, p)) == answer
    assert kept(keep_typical(np.array([[0.0, -np.inf, 0.0]]), 0.4)) == [0]


def test_tokens_of_low_surprisal_are_within_so_many_bits_or_the_most_likely() -> None:
    # 3.3, 1.3, 2.3 and 1.7 bits
    for most, answer in {
        0.1: [1],
        1.5: [1],
        2.0: [1, 3],
        2.4: [1, 2, 3],
        9.0: [0, 1, 2, 3],
    }.items():
        assert kept(keep_low_surprisal(ROW, np.array([most]))) == answer


rows = st.lists(
    st.lists(st.floats(-50, 50, width=32) | st.just(-np.inf), min_size=5, max_size=5).filter(
        lambda row: max(row) > -np.inf
    ),
    min_size=1,
    max_size=4,
)


@given(rows, st.integers(1, 8), st.floats(0.001, 1), st.floats(0, 1), st.floats(0.001, 1))
@settings(max_examples=300)
def test_filters_keep_something_and_its_order(
    scores: list[list[float]], k: int, p: float, fraction: float, typical: float
) -> None:
    array = np.array(scores)
    for filtered in (
        keep_top_k(array, k),
        keep_top_p(array, p),
        keep_typical(array, typical),
        keep_min_p(array, fraction),
        keep_low_surprisal(array, np.full(len(array), 9 * p)),
        truncate(array, SampleConfig(top_k=k, top_p=p, min_p=fraction, typical=typical)),
    ):
        left = filtered > -np.inf
        assert left.any(axis=1).all()
        assert np.array_equal(filtered[left], array[left])
        token = sample_tokens(filtered, 0.8, np.full(len(array), 0.7))
        assert left[np.arange(len(array)), token].all()


@given(rows, st.integers(1, 8), st.floats(0.001, 1), st.floats(0, 1), st.floats(0.001, 1))
def test_a_row_is_filtered_as_if_it_were_alone(
    scores: list[list[float]], k: int, p: float, fraction: float, typical: float
) -> None:
    config = SampleConfig(top_k=k, top_p=p, min_p=fraction, typical=typical)
    together = truncate(np.array(scores), config)
    for row, alone in zip(together, scores, strict=True):
        assert np.array_equal(row, truncate(np.array([alone]), config)[0])


def test_truncations_act_in_their_order() -> None:
    both = SampleConfig(top_k=2, top_p=0.55)  # of two tokens, 0.4 and 0.3, the first has 0.57
    assert kept(truncate(ROW, both)) == [1]
    assert kept(truncate(ROW, SampleConfig(top_p=0.55))) == [1, 3]
    assert kept(truncate(ROW, SampleConfig(top_p=0.55, min_p=0.9))) == [1]


# -- penalties ----------------------------------------------------------------------------


def test_penalties_apply_to_recent_tokens() -> None:
    scores = np.array([2.0, -2.0, 1.0, 0.5])
    recent = np.array([0, 1, 0])
    once = apply_penalties(scores, recent, SampleConfig(repeat_penalty=2.0))
    assert once.tolist() == [1.0, -4.0, 1.0, 0.5]
    flat = SampleConfig(presence_penalty=0.5, frequency_penalty=0.25)
    assert apply_penalties(scores, recent, flat).tolist() == [1.0, -2.75, 1.0, 0.5]


def longest_passage(text: list[int], token: int, breakers: set[int]) -> int:
    """Return the length of the longest end of a text that occurs before, followed by the token."""
    best = -1
    for index in range(len(text)):
        if text[index] != token:
            continue
        length = 0
        while (
            length < index
            and text[index - 1 - length] == text[-1 - length]
            and text[-1 - length] not in breakers
        ):
            length += 1
        best = max(best, length)
    return best


@given(
    st.lists(st.integers(0, 3), max_size=40),
    st.integers(0, 40),
    st.integers(0, 4),
    st.sets(st.integers(0, 3)),
)
def test_the_dry_penalty_is_that_of_a_direct_search(
    text: list[int], split: int, allowed: int, breakers: set[int]
) -> None:
    config = SampleConfig(dry_multiplier=0.5, dry_base=2.0, dry_allowed_length=allowed)
    known = np.array([token in breakers for token in range(4)])
    penalty = DryPenalty(np.array(text[:split], np.int64), 1000, known)
    for token in text[split:]:
        penalty.append(token)
    scores = penalty.apply(np.zeros(4), config)
    for token in range(4):
        over = longest_passage(text, token, breakers) - allowed
        assert scores[token] == (pytest.approx(-0.5 * 2.0**over) if over >= 0 else 0)


def test_the_dry_penalty_looks_back_so_far_and_never_overflows() -> None:
    none = np.zeros(2, np.bool_)
    short = DryPenalty(np.array([0, 1] * 50), 3, none)
    assert short.tokens.tolist() == [1, 0, 1]
    assert short.lengths.max() <= 2
    long = DryPenalty(np.zeros(5000, np.int64), 4000, none)
    scores = long.apply(np.zeros(2), SampleConfig(dry_multiplier=1.0))
    assert scores[1] == 0
    assert -1000 < scores[0] < -100


def test_probabilities_sum_to_one() -> None:
    assert probabilities(ROW)[0] == pytest.approx(PROBS)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("length", -1, "length is -1; allowed: 0 or more characters"),
        ("temperature", -0.1, "temperature is -0.1; allowed: 0 to 100"),
        ("temperature", math.nan, "temperature is nan"),
        ("temperature", 100.1, "temperature is 100.1"),
        ("top_k", -1, "top-k is -1; allowed: 0"),
        ("top_p", 0.0, "top-p is 0.0; allowed: more than 0, up to 1"),
        ("top_p", 1.5, "top-p is 1.5"),
        ("typical", 0.0, "typical is 0.0"),
        ("min_p", 1.1, "min-p is 1.1"),
        ("repeat_penalty", 0.0, "repeat-penalty is 0.0"),
        ("dry_base", 0.5, "dry-base is 0.5"),
        ("mirostat", 1, r"mirostat is 1; allowed: 0 \(off\), 2"),
        ("logit_bias", (("ab", 1.0),), "logit-bias is 'ab'"),
        ("stop", ("",), "stop is ''"),
    ],
)
def test_a_wrong_setting_is_named(option: str, value: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SampleConfig(**{option: value})  # type: ignore[arg-type]
