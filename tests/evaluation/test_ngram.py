"""Kneser-Ney model against its equations, one n-gram at a time."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest

from chargen.data.texts import Texts
from chargen.evaluation.ngram import KneserNey, discounts

V, ORDER = 5, 4


def text(length: int, seed: int) -> list[int]:
    """A text with habits: a token is likely to follow the one before it in the alphabet."""
    rng = np.random.default_rng(seed)
    ids = [0]
    for _ in range(length - 1):
        ids.append((ids[-1] + int(rng.choice(3, p=[0.7, 0.2, 0.1]))) % V)
    return ids


class Slow:
    """The equations of the module, with dictionaries.

    Args:
        texts: each with what is read before it, or one text with nothing before it.
    """

    def __init__(self, *texts: list[int]) -> None:
        self.counts: list[Counter[tuple[int, ...]]] = []
        apart = len(texts) > 1
        for n in range(1, ORDER + 1):
            grams, longer = (
                [tuple(ids[t : t + m]) for ids in texts for t in range(len(ids) - m + 1)]
                for m in (n, n + 1)
            )
            begun = [tuple(ids[:n]) for ids in texts if apart and len(ids) >= n > 1]
            if n == ORDER:
                self.counts.append(Counter(grams))
            else:
                self.counts.append(Counter(gram[1:] for gram in set(longer)) + Counter(begun))
        self.discounts = [discounts(np.array(list(counts.values()))) for counts in self.counts]
        self.after: list[dict[tuple[int, ...], list[int]]] = []
        for counts in self.counts:
            after = defaultdict(list)
            for gram, count in counts.items():
                after[gram[:-1]].append(count)
            self.after.append(after)

    def probability(self, context: tuple[int, ...], token: int, n: int = ORDER) -> float:
        if n == 0:
            return 1 / V
        context = context[len(context) - n + 1 :] if n > 1 else ()
        lower = self.probability(context[1:], token, n - 1)
        counts, discount = self.after[n - 1].get(context), self.discounts[n - 1]
        if not counts:
            return lower
        count = self.counts[n - 1][(*context, token)]
        own = max(0.0, count - discount[min(count, 3)])
        rest = sum(discount[min(c, 3)] for c in counts)
        return float((own + rest * lower) / sum(counts))


def test_it_is_the_equation() -> None:
    learned, other = text(400, 1), text(60, 2)
    slow, fast = Slow(learned), KneserNey(np.array(learned), V, ORDER)
    losses = fast.nll(np.array(other), ORDER - 1)[-1]
    for place, nll in enumerate(losses, ORDER - 1):
        context = tuple(other[place - ORDER + 1 : place])
        assert math.exp(-nll) == pytest.approx(slow.probability(context, other[place]), abs=1e-12)


def words(count: int, seed: int, end: int) -> list[list[int]]:
    """Return short texts of tokens above the end, which each of them ends with."""
    ids, lengths = text(20 * count, seed), np.random.default_rng(seed).integers(0, 9, count)
    rows = [ids[20 * n : 20 * n + size] for n, size in enumerate(lengths.tolist())]
    return [[1 + token % (V - 1) for token in row] + [end] for row in rows]


def together(rows: list[list[int]], before: int) -> tuple[np.ndarray, Texts]:
    borders = np.cumsum([0, *map(len, rows)])
    ids = np.concatenate([np.array(row, np.int64) for row in rows])
    return ids, Texts(borders, np.full(len(rows), -1, np.int32), before)


def counted(rows: list[list[int]], end: int = 0) -> KneserNey:
    ids, texts = together(rows, end)
    return KneserNey(ids, V, ORDER, texts)


@pytest.mark.parametrize("end", [0, 3])  # 3 is also a token within texts
def test_of_texts_it_is_the_equation_after_what_is_read_before_each(end: int) -> None:
    learned, other = words(80, 1, end), words(20, 2, end)
    slow, fast = Slow(*([end, *row] for row in learned)), counted(learned, end)
    ids, texts = together(other, end)
    found = iter(fast.nll(ids, texts=texts)[-1])
    for row in other:
        known = [end, *row]
        for place in range(1, len(known)):
            context = tuple(known[max(0, place - ORDER + 1) : place])
            n = 1 + len(context)
            expected = slow.probability(context, known[place], n)
            assert math.exp(-next(found)) == pytest.approx(expected, abs=1e-12)
    assert next(found, None) is None


def test_the_order_of_texts_does_not_matter() -> None:
    learned, other = words(80, 1, 0), together(words(20, 2, 0), 0)
    models = [counted(rows) for rows in (learned, learned[::-1])]
    one, reverse = (model.nll(other[0], texts=other[1]) for model in models)
    np.testing.assert_allclose(one, reverse, rtol=1e-12)


def test_the_first_token_of_a_text_is_as_frequent_as_it_was() -> None:
    """By the number of tokens before it, each first token would count once: the end alone."""
    learned = [[1, 4, 0]] * 90 + [[2, 4, 0]] * 8 + [[3, 4, 0], [3, 1, 0]]
    model = counted(learned)
    tried = together([[token] for token in range(V)], 0)
    for losses in model.nll(tried[0], texts=tried[1])[1:]:
        assert np.exp(-losses[1:4]) == pytest.approx([0.9, 0.08, 0.02], abs=0.02)
        assert np.exp(-losses).sum() == pytest.approx(1)


def test_probabilities_add_up_to_one_after_any_context() -> None:
    model = KneserNey(np.array(text(300, 3)), V, ORDER)
    for context in ([0, 1, 2], [4, 4, 4], [3, 0, 3], [2]):
        texts = [np.array([*context, token]) for token in range(V)]
        losses = [model.nll(ids, len(context))[-1][0] for ids in texts]
        assert sum(np.exp(-np.array(losses))) == pytest.approx(1, abs=1e-12)


def test_longer_contexts_help_and_order_1_is_nearly_the_frequency_of_each_token() -> None:
    learned, other = text(5000, 4), text(2000, 5)
    model = KneserNey(np.array(learned), V, 3)
    means = [losses.mean() for losses in model.nll(np.array(other), 10)]
    assert means[0] == pytest.approx(math.log(V), abs=0.01)  # all tokens are equally frequent
    entropy = -sum(p * math.log(p) for p in (0.7, 0.2, 0.1))
    assert means[1] == pytest.approx(entropy, abs=0.02)


@pytest.mark.parametrize("ids", [[0], [0, 0], [0, 1, 0, 1, 0, 1], list(range(5))])
def test_tiny_texts_give_probabilities(ids: list[int]) -> None:
    for losses in KneserNey(np.array(ids), V, ORDER).nll(np.array([0, 1, 2, 3, 4, 4, 4]), 0):
        assert np.isfinite(losses).all()
        assert (losses >= 0).all()


def test_discounts_are_chen_and_goodmans() -> None:
    counts = np.repeat([1, 2, 3, 4, 9], [100, 40, 20, 12, 5])
    y = 100 / 180
    expected = [0, 1 - 2 * y * 0.4, 2 - 3 * y * 0.5, 3 - 4 * y * 0.6]
    assert discounts(counts).tolist() == pytest.approx(expected)


def test_tinyshakespeare_at_order_7(corpora: Path) -> None:
    text = np.frombuffer((corpora / "tinyshakespeare.txt").read_bytes(), np.uint8)
    alphabet, ids = np.unique(text, return_inverse=True)
    ids, cut = ids.astype(np.int64), int(0.9 * len(text))
    losses = KneserNey(ids[:cut], len(alphabet), 9).nll(ids, cut)
    assert losses[6].mean() == pytest.approx(1.5165, abs=0.0005)
    assert min(range(9), key=lambda n: losses[n].mean()) == 6
