"""Texts of their own in batches: each token once an epoch, each text from its beginning."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from chargen.data.batches import Batch
from chargen.data.text_batches import TextBatches
from chargen.data.texts import UNLABELLED, Texts
from chargen.tokenizers.base import PADDING

BEFORE = 9999


def made(lengths: list[int], batch_size: int = 3, bptt: int = 4, **more: float) -> TextBatches:
    """Return batches of texts whose tokens are their places in all, and labels their numbers."""
    borders = np.append(0, np.cumsum(lengths))
    texts = Texts(borders, np.arange(len(lengths), dtype=np.int32), BEFORE)
    return TextBatches(np.arange(borders[-1]), texts, batch_size, bptt, **more)  # type: ignore[arg-type]


def epoch(batches: TextBatches, number: int = 0) -> list[Batch]:
    first = number * batches.steps_per_epoch
    return [batches.batch(first + step) for step in range(batches.steps_per_epoch)]


@settings(deadline=None)  # a busy machine
@given(
    lengths=st.lists(st.integers(1, 200), min_size=1, max_size=30),
    batch_size=st.integers(1, 5),
    bptt=st.integers(1, 9),
    processes=st.integers(1, 3),
)
def test_each_token_is_a_target_once_after_the_one_before_it(
    lengths: list[int], batch_size: int, bptt: int, processes: int
) -> None:
    batches = made(lengths, batch_size, bptt, processes=processes)
    for number in (0, 1):
        targets = []
        for batch in epoch(batches, number):
            inputs, own = batch.tokens[:, :-1], batch.tokens[:, 1:]
            real = own != PADDING
            assert len(own) % processes == 0
            assert own.shape[1] <= bptt
            assert not (real[:, 1:] & ~real[:, :-1]).any()  # padding is at the end
            begins = np.isin(own, batches.texts.borders) & real
            assert (inputs[begins] == BEFORE).all()
            assert (inputs[real & ~begins] == own[real & ~begins] - 1).all()
            assert batch.labels is not None
            texts = np.searchsorted(batches.texts.borders, own[:, 0], "right") - 1
            there = real[:, 0]
            assert np.array_equal(batch.labels[there], texts[there])
            targets.append(own[real])
        assert sorted(np.concatenate(targets)) == list(range(sum(lengths)))


def test_the_state_goes_on_within_a_text_and_begins_anew_with_another() -> None:
    batches = made([20, 19, 18, 3, 3], batch_size=3, bptt=4)
    last: np.ndarray = np.zeros(0, np.int64)
    for batch in epoch(batches):
        if not batch.begins:  # rows go on where they stopped
            real = batch.tokens[:, 1] != PADDING
            assert np.array_equal(batch.tokens[real, 0], last[real])
        last = batch.tokens[:, -1]
    assert sum(batch.begins for batch in epoch(batches)) == 2  # three long texts, two short ones


def test_short_texts_are_read_many_side_by_side() -> None:
    (batch,) = epoch(made([2] * 6, batch_size=3, bptt=4))
    assert batch.tokens.shape == (6, 3)


def test_long_texts_are_read_in_passages_of_one_length() -> None:
    batches = made([1000], batch_size=4, bptt=5)
    sizes = {batch.tokens.shape for batch in epoch(batches)}
    assert len(epoch(batches)) == 16 * 3  # 13 passages of 77 tokens in three groups
    assert sizes == {(4, 6), (5, 6)}


def test_epochs_have_another_order_and_the_same_seed_the_same() -> None:
    lengths = [5] * 40
    once, again = (epoch(made(lengths, seed=3)) for _ in "12")
    assert all(np.array_equal(a.tokens, b.tokens) for a, b in zip(once, again, strict=True))
    for other in (epoch(made(lengths, seed=4)), epoch(made(lengths, seed=3), 1)):
        assert any(not np.array_equal(a.tokens, b.tokens) for a, b in zip(once, other, strict=True))


def test_a_fraction_of_the_texts_is_read_without_label() -> None:
    batches = made([3] * 1000, unlabelled=0.2)
    labels = np.concatenate([batch.labels for batch in epoch(batches) if batch.labels is not None])
    assert 140 < np.count_nonzero(labels == UNLABELLED) < 260  # 4.7 standard deviations


def test_characters_are_hidden_but_not_padding() -> None:
    batches = made([3, 7] * 300, unknown_id=7777, unknown_rate=0.1)
    tokens = np.concatenate([batch.tokens.ravel() for batch in epoch(batches)])
    plain = np.concatenate([b.tokens.ravel() for b in epoch(made([3, 7] * 300))])
    assert np.array_equal(tokens == PADDING, plain == PADDING)
    share = np.count_nonzero(tokens == 7777) / np.count_nonzero(plain != PADDING)
    assert 0.07 < share < 0.13
