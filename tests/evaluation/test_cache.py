"""The cache expects what followed before; its probabilities are ones, and only the past tells."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargen.evaluation.cache import CONTEXT, expectations, with_cache

V = 3
texts = st.lists(st.integers(0, V - 1), min_size=1, max_size=60).map(np.array)


@given(texts)
def test_what_is_expected_followed_the_same_context(ids: np.ndarray) -> None:
    found = expectations(ids)
    assert len(found) == len(ids)
    for here, (guess, followed) in enumerate(found):
        if guess < 0:
            continue
        length = CONTEXT + followed
        context = ids[here - length : here].tolist()
        before = [
            int(ids[end])
            for end in range(length, here)
            if ids[end - length : end].tolist() == context
        ]
        assert guess in before


@given(texts, st.data())
def test_only_the_past_tells(ids: np.ndarray, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(ids)))
    other = np.concatenate([ids[:cut], (ids[cut:] + 1) % V])
    nll = np.full(len(ids), np.log(V))
    assert expectations(ids)[: cut + 1] == expectations(other)[: cut + 1]
    one, two = (with_cache(nll, expectations(text), text) for text in (ids, other))
    np.testing.assert_array_equal(one[:cut], two[:cut])


@given(texts)
def test_the_probabilities_of_all_tokens_sum_to_one(ids: np.ndarray) -> None:
    expected, here = expectations(ids), len(ids) - 1
    nll, total = np.full(len(ids), np.log(V)), 0.0
    for token in range(V):
        text = np.append(ids[:here], token)
        total += np.exp(-with_cache(nll, expected, text)[here])
    assert total == pytest.approx(1)


def test_repetition_pays_and_noise_costs_little() -> None:
    rng = np.random.default_rng(0)
    line, noise = rng.integers(50, size=100), rng.integers(50, size=2000)
    repeated = np.tile(line, 5)
    for text, most in ((repeated, 1.0), (noise, np.log(50) + 0.01)):
        nll = np.full(len(text), np.log(50))
        assert with_cache(nll, expectations(text), text).mean() < most


def test_a_token_that_nothing_expected_stays_impossible() -> None:
    nll = np.array([1.0, np.inf, 1.0])
    assert np.array_equal(with_cache(nll, expectations(np.array([0, 1, 2])), np.arange(3)), nll)
