"""N-gram baseline: an interpolated modified Kneser-Ney model of the tokens.

A neural model with a loss that is not clearly lower has learned no more than which tokens follow
which.

For an n-gram of context h and token c, with a(hc) its count, or in all orders but the highest
the number of different tokens seen before it (Kneser and Ney 1995),

::

    P(c | h) = (max(0, a(hc) - D(a(hc))) + g(h) * P(c | h')) / a(h)
    a(h) = sum over c of a(hc);  h' is h without its first token
    g(h) = D1 * N1(h) + D2 * N2(h) + D3 * N3+(h)

where N1, N2 and N3+ are the numbers of tokens with a = 1, 2 and 3 or more after h. Below the
shortest context the tokens are equally likely. The discounts are those of Chen and Goodman
(1999, section 3): with n1 to n4 the numbers of n-grams of a = 1 to 4 and Y = n1 / (n1 + 2 n2),

::

    D1 = 1 - 2 Y n2/n1;  D2 = 2 - 3 Y n3/n2;  D3+ = 3 - 4 Y n4/n3
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chargen.model.counts import KEPT_AS, NGramCounts
from chargen.model.counts import Level as CountLevel
from chargen.model.match import LongestMatch

Ids = NDArray[np.int64]
Floats = NDArray[np.float64]


class Shares(NamedTuple):
    """How the probability after each context is shared out.

    Attributes:
        own: max(0, a - D(a)) / a(h) of each n-gram.
        rest: g(h) / a(h) of each context; 1 for a context that nothing follows.
    """

    own: Floats
    rest: Floats


class Level(NamedTuple):
    """All n-grams of one order.

    Attributes:
        keys: context's number * V + token, sorted; an n-gram's number is its place here.
        highest: shares by counts, for a model that ends with this order.
        lower: shares by the number of tokens seen before, for models of higher orders.
        last: place of the last token of each n-gram, where it was seen last.
    """

    keys: Ids
    highest: Shares
    lower: Shares
    last: NDArray[np.uint32]


class Grams(NamedTuple):
    """The different n-grams of one order in a text.

    Attributes:
        keys: context's number * V + token, sorted.
        counts: how often each is there.
        suffixes: number of the n-gram without its first token, one order below.
        last: place of its last token in the text, where it was seen last.
    """

    keys: Ids
    counts: Ids
    suffixes: Ids
    last: NDArray[np.uint32]


class KneserNey:
    """Counts of a text, which give each token of another a probability.

    Args:
        ids: the text in tokens, (N,).
        vocab_size: number of different tokens (V).
        order: length of the longest n-grams, context and token together.
    """

    def __init__(self, ids: Ids, vocab_size: int, order: int) -> None:
        self.vocab_size, self._ids = vocab_size, ids
        grams = _number(ids, vocab_size, order)
        befores = [
            np.bincount(longer.suffixes, minlength=len(gram.keys))
            for gram, longer in itertools.pairwise(grams)
        ]
        befores.append(grams[-1].counts)  # nothing is higher: not used
        contexts = [1, *(len(gram.keys) for gram in grams)]  # of no token, of one, ...
        self.levels = [
            Level(
                gram.keys,
                _shares(gram.keys // vocab_size, gram.counts, number),
                _shares(gram.keys // vocab_size, before, number),
                gram.last,
            )
            for gram, before, number in zip(grams, befores, contexts, strict=False)
        ]

    def nll(self, ids: Ids, first: int) -> list[Floats]:
        """Return -ln P of each token from ``first`` on, by the models of order 1, 2, and so on."""
        probability = np.full(len(ids), 1 / self.vocab_size)
        context = np.zeros(len(ids), np.int64)  # number of the context before each token, or -1
        losses = []
        for level in self.levels:
            place = _find(level.keys, np.where(context < 0, -1, context * self.vocab_size + ids))
            whole = _mix(level.highest, probability, context, place)
            losses.append(-np.log(whole[first:]))
            probability = _mix(level.lower, probability, context, place)
            context = np.concatenate([[-1], place[:-1]])
        return losses

    def counts(self, order: int) -> NGramCounts:
        """Return the model of one order as a model file holds it: in float16."""
        levels, contexts = [], 1
        for n, level in enumerate(self.levels[:order], 1):
            shares = level.highest if n == order else level.lower
            places = level.keys // self.vocab_size
            lengths = np.bincount(places, minlength=contexts)
            own = shares.own.astype(KEPT_AS[n > 1]).astype(np.float32)
            levels.append(CountLevel(lengths, level.keys % self.vocab_size, own))
            contexts = len(level.keys)
        last = self.levels[order - 2].last + 1 if order > 1 else np.array([len(self._ids)])
        return NGramCounts(self.vocab_size, tuple(levels), LongestMatch(self._ids, last))


def _mix(shares: Shares, lower: Floats, context: Ids, place: Ids) -> Floats:
    """Return the probabilities of one order from those of the order below."""
    mixed = lower.copy()
    met, known = context >= 0, place >= 0
    mixed[met] *= shares.rest[context[met]]
    mixed[known] += shares.own[place[known]]
    return mixed


def _number(ids: Ids, vocab_size: int, order: int) -> list[Grams]:
    """Number the n-grams of each order."""
    grams = []
    context = np.zeros(len(ids), np.int64)  # number of the (n-1)-gram before each token
    suffix = np.zeros(len(ids), np.int64)  # number of the (n-1)-gram that ends at each token
    for n in range(order):
        following = context[n:] * vocab_size + ids[n:]
        # From the end, so that the first of several equal ones is the last in the text.
        keys, back, number, counts = np.unique(
            following[::-1], return_index=True, return_inverse=True, return_counts=True
        )
        last = (len(ids) - 1 - back).astype(np.uint32)
        grams.append(Grams(keys, counts, suffix[last], last))
        ends = np.concatenate([np.zeros(n, np.int64), number[::-1]])
        context, suffix = np.concatenate([[0], ends[:-1]]), ends
    return grams


def _shares(context: Ids, counts: Ids, contexts: int) -> Shares:
    """Discount the counts a of n-grams that follow these contexts."""
    discount = discounts(counts)[np.minimum(counts, 3)]
    total = np.bincount(context, counts, minlength=contexts)
    taken = np.bincount(context, discount, minlength=contexts)
    own = np.divide(counts - discount, total[context], out=np.zeros(len(counts)), where=counts > 0)
    return Shares(own, np.divide(taken, total, out=np.ones(contexts), where=total > 0))


def discounts(counts: Ids) -> Floats:
    """Return the discounts of counts of 0, 1, 2, and 3 or more."""
    n1, n2, n3, n4 = (int(np.count_nonzero(counts == k)) for k in (1, 2, 3, 4))
    if 0 in (n1, n2, n3):
        return np.array([0, 0.5, 0.5, 0.5])  # too few to estimate
    y = n1 / (n1 + 2 * n2)
    wanted = np.array([0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3])
    clipped: Floats = np.clip(wanted, [0, 0.1, 0.1, 0.1], [0, 1, 2, 3])
    return clipped


def _find(keys: Ids, wanted: Ids) -> Ids:
    """Return the place of each wanted key among sorted keys, or -1."""
    if not len(keys):
        return np.full(len(wanted), -1)
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[place] == wanted, place, -1)
