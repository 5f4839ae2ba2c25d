"""N-gram counts in a model file: the probabilities of the Kneser-Ney model that made them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargen.errors import CheckpointError
from chargen.evaluation.ngram import KneserNey
from chargen.model.counts import NGramCounts

V, ORDER = 6, 4
TEXT = np.random.default_rng(0).integers(V - 1, size=800) // np.array([1, 2] * 400)
SLOW = KneserNey(TEXT, V, ORDER)


def counts(order: int = ORDER) -> NGramCounts:
    """Return the counts as a model file gives them back."""
    return NGramCounts.from_tensors(SLOW.counts(order).to_tensors(), V)


@given(st.lists(st.integers(0, V - 1), min_size=2, max_size=60), st.integers(1, ORDER))
def test_the_probabilities_are_those_of_the_model(ids: list[int], order: int) -> None:
    text, model = np.array(ids), SLOW.counts(order)
    after = model.advance(model.start(1), text[None, :-1])[0]
    rows = model.probabilities(after)
    found = rows[np.arange(len(ids) - 1), text[1:]]
    np.testing.assert_allclose(found, np.exp(-SLOW.nll(text, 1)[order - 1]), atol=1e-3)  # float16
    np.testing.assert_allclose(rows.sum(axis=1), 1, rtol=1e-5)


@given(st.lists(st.integers(0, V - 1), min_size=1, max_size=40), st.data())
def test_one_token_at_a_time_is_the_same_bit_for_bit(ids: list[int], data: st.DataObject) -> None:
    model, text = counts(), np.array(ids)
    whole = model.advance(model.start(1), text[None])[0]
    rows = model.probabilities(whole)
    numbers = model.start(1)
    for place, token in enumerate(ids):
        numbers = model.advance(numbers, np.array([[token]]))[:, -1]
        assert np.array_equal(numbers, whole[place : place + 1])
        assert np.array_equal(model.probabilities(numbers)[0], rows[place])
    cut = data.draw(st.integers(0, len(ids)))
    first = model.advance(model.start(1), text[None, :cut])[:, -1] if cut else model.start(1)
    if cut < len(ids):
        assert np.array_equal(model.advance(first, text[None, cut:])[0], whole[cut:])


def test_a_row_of_a_batch_is_that_of_a_text_alone() -> None:
    model, rng = counts(), np.random.default_rng(2)
    texts = rng.integers(V, size=(5, 12))
    together = model.advance(model.start(5), texts)
    rows = model.probabilities(together[:, -1])
    for text, number, row in zip(texts, together, rows, strict=True):
        assert np.array_equal(model.advance(model.start(1), text[None])[0], number)
        assert np.array_equal(model.probabilities(number[-1:])[0], row)


@pytest.mark.parametrize("size", [0, 50, 300])  # the distributions after contexts of 0, 1, 2 tokens
def test_the_size_of_the_table_changes_nothing(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    texts, whole = np.random.default_rng(3).integers(V, size=(20, 9)), counts()
    numbers = whole.advance(whole.start(20), texts).reshape(180, -1)
    assert (numbers[:, ORDER - 1] == 0).any()  # some contexts are new
    monkeypatch.setattr("chargen.model.ngram_table.TABLE", size)
    few = counts()
    rows = few.probabilities(numbers)
    assert np.array_equal(rows, whole.probabilities(numbers))
    for state, row in zip(numbers[:, None], rows, strict=True):
        assert np.array_equal(few.probabilities(state)[0], row)


def test_what_a_file_holds_is_small_and_whole() -> None:
    tensors = SLOW.counts(ORDER).to_tensors()
    kinds = {str(array.dtype) for name, array in tensors.items() if "1." not in name}
    assert kinds == {"uint8", "uint16", "float16"}  # places in 800 tokens need 16 bits
    exact, held = SLOW.counts(ORDER), counts()
    numbers = exact.advance(exact.start(1), TEXT[None, :200])[0]
    assert np.array_equal(held.probabilities(numbers), exact.probabilities(numbers))


def test_damaged_counts_are_refused() -> None:
    whole = SLOW.counts(3).to_tensors()
    wrong = [
        {},
        {name: array for name, array in whole.items() if "3.own" not in name},
        {**whole, "counts.2.lengths": whole["counts.2.lengths"][:-1]},
        {**whole, "counts.2.lengths": whole["counts.2.lengths"] + np.uint8(1)},
        {**whole, "counts.3.tokens": whole["counts.3.tokens"][::-1]},
        {**whole, "counts.3.tokens": whole["counts.3.tokens"] + np.uint8(V)},
        {**whole, "counts.3.tokens": whole["counts.3.tokens"].astype(np.float32)},
        {**whole, "counts.2.lengths": whole["counts.2.lengths"].astype(np.uint64)},
        {**whole, "counts.1.own": np.full_like(whole["counts.1.own"], np.nan)},
        {**whole, "counts.1.own": whole["counts.1.own"] + np.float16(2)},
        {**whole, "counts.1.own": whole["counts.1.own"].reshape(1, -1)},
        {name: array for name, array in whole.items() if name != "counts.text"},
        {**whole, "counts.text": whole["counts.text"] + np.uint8(V)},
        {**whole, "counts.text": whole["counts.text"][:0]},
        {**whole, "counts.text": whole["counts.text"].astype(np.int8)},
        {**whole, "counts.last": whole["counts.last"][1:]},
        {**whole, "counts.last": whole["counts.last"] + np.uint16(800)},
    ]
    for tensors in wrong:
        with pytest.raises(CheckpointError, match="counts of the model are damaged"):
            NGramCounts.from_tensors(tensors, V)


def test_each_number_stands_for_one_context() -> None:
    model = counts()
    texts = np.array(list(itertools.product(range(V), repeat=ORDER - 1)))
    numbers = model.advance(model.start(len(texts)), texts)[:, -1, ORDER - 1]
    known = numbers[numbers > 0]
    assert len(set(known.tolist())) == len(known) == len(SLOW.levels[ORDER - 2].keys)
