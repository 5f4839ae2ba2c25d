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

Of texts that are read each by itself, no n-gram crosses a border, and each text is preceded by one
token. Nothing stands before that: an n-gram that begins with it counts in all orders as often as it
is there, like those that begin with <s> in KenLM (Heafield 2011).
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chargen.data.texts import Texts
from chargen.model.counts import NGramCounts
from chargen.model.match import LongestMatch
from chargen.model.ngram_table import KEPT_AS, NGramTable
from chargen.model.ngram_table import Level as TableLevel

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
        last: place in the text after each n-gram, where it was seen last.
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
        begins: how often each is there at the beginning of one of several texts.
        suffixes: number of the n-gram without its first token, one order below.
        last: place in the text after it, where it was seen last.
    """

    keys: Ids
    counts: Ids
    begins: Ids
    suffixes: Ids
    last: NDArray[np.uint32]


class Sequence(NamedTuple):
    """A text, or several one after another, each preceded by the token that is read before it.

    Attributes:
        ids: its tokens (M,).
        roots: number of the model that counts each token (M,); -1 for none.
        depth: tokens before each in its text (M,); None of one text.
        places: of each token among those of the texts (M,); None of one text.
    """

    ids: Ids
    roots: Ids
    depth: Ids | None = None
    places: Ids | None = None

    def ends(self, length: int) -> Ids:
        """Return the places of tokens with so many tokens before them."""
        if self.depth is None:
            return np.arange(length, len(self.ids))
        return np.flatnonzero(self.depth >= length)


class KneserNey:
    """Counts of a text, which give each token of another a probability.

    Args:
        ids: the text in tokens, (N,).
        vocab_size: number of different tokens (V).
        order: length of the longest n-grams, context and token together.
        texts: of which it consists, if each is read by itself.
        labels: of the texts, if those of each label are counted apart, in a model of their own.
    """

    def __init__(
        self,
        ids: Ids,
        vocab_size: int,
        order: int,
        texts: Texts | None = None,
        labels: int | None = None,
    ) -> None:
        self.vocab_size, self._ids, self._labels = vocab_size, ids, labels
        if labels is not None and texts is not None:
            ids, texts = with_labels(ids, texts)
        grams = _number(self._sequence(ids, texts), vocab_size, order)
        befores = [
            np.bincount(longer.suffixes, minlength=len(gram.keys)) + gram.begins
            for gram, longer in itertools.pairwise(grams)
        ]
        befores.append(grams[-1].counts)  # nothing is higher: not used
        contexts = [labels or 1, *(len(gram.keys) for gram in grams)]  # of no token, of one, ...
        self.levels = [
            Level(
                gram.keys,
                _shares(gram.keys // vocab_size, gram.counts, number),
                _shares(gram.keys // vocab_size, before, number),
                gram.last,
            )
            for gram, before, number in zip(grams, befores, contexts, strict=False)
        ]

    def nll(self, ids: Ids, first: int = 0, texts: Texts | None = None) -> list[Floats]:
        """Return -ln P of each token, by the models of order 1, 2, and so on.

        Args:
            ids: tokens (N,).
            first: from which token on.
            texts: of which they consist, if each is read by itself.
        """
        sequence = self._sequence(ids, texts)
        scored = slice(first, None) if sequence.depth is None else sequence.depth > 0
        probability = np.full(len(sequence.ids), 1 / self.vocab_size)
        context = sequence.roots  # number of that before each token, or -1
        losses = []
        for length, level in enumerate(self.levels, 1):
            keys = np.where(context < 0, -1, context * self.vocab_size + sequence.ids)
            place = _find(level.keys, keys)
            whole = _mix(level.highest, probability, context, place)
            losses.append(-np.log(whole[scored]))
            probability = _mix(level.lower, probability, context, place)
            context = np.full(len(place), -1)
            ends = sequence.ends(length)
            context[ends] = place[ends - 1]
        return losses

    def _sequence(self, ids: Ids, texts: Texts | None) -> Sequence:
        if texts is None:
            return Sequence(ids, np.zeros(len(ids), np.int64))
        sizes = texts.lengths + 1  # with what is read before each text
        steps = np.arange(len(ids) + len(texts))
        depth = steps - np.repeat(np.cumsum(sizes) - sizes, sizes)
        places = steps - np.repeat(np.arange(1, len(texts) + 1), sizes)
        roots = np.repeat(texts.labels if self._labels else np.zeros(len(texts), np.int64), sizes)
        whole = np.insert(ids, texts.borders[:-1], texts.before)
        return Sequence(whole, roots.astype(np.int64), depth, places)

    def counts(self, order: int) -> NGramCounts:
        """Return the model of one order as a model file holds it: in float16."""
        last = self.levels[order - 2].last if order > 1 else np.array([len(self._ids)])
        return NGramCounts(self.table(order), LongestMatch(self._ids, last))

    def table(self, order: int) -> NGramTable:
        """Return the probabilities of the model of one order, in float16."""
        levels, contexts = [], self._labels or 1
        for n, level in enumerate(self.levels[:order], 1):
            shares = level.highest if n == order else level.lower
            places = level.keys // self.vocab_size
            lengths = np.bincount(places, minlength=contexts)
            own = shares.own.astype(KEPT_AS[n > 1]).astype(np.float32)
            levels.append(TableLevel(lengths, level.keys % self.vocab_size, own))
            contexts = len(level.keys)
        return NGramTable(self.vocab_size, tuple(levels))


def _mix(shares: Shares, lower: Floats, context: Ids, place: Ids) -> Floats:
    """Return the probabilities of one order from those of the order below."""
    mixed = lower.copy()
    met, known = context >= 0, place >= 0
    mixed[met] *= shares.rest[context[met]]
    mixed[known] += shares.own[place[known]]
    return mixed


def with_labels(ids: Ids, texts: Texts) -> tuple[Ids, Texts]:
    """Return the tokens (N,) of the texts that have a label, and these texts."""
    kept, lengths = texts.labels >= 0, texts.lengths
    borders = np.append(0, np.cumsum(lengths[kept]))
    own = Texts(borders, texts.labels[kept], texts.before)
    return ids[np.repeat(kept, lengths)], own


def _number(sequence: Sequence, vocab_size: int, order: int) -> list[Grams]:
    """Number the n-grams of each order."""
    ids, grams = sequence.ids, list[Grams]()
    numbers = np.zeros(len(ids), np.int64)  # number of the (n-1)-gram that ends at each token
    for n in range(order):
        ends = sequence.ends(n)
        contexts = numbers[ends - 1] if n else sequence.roots
        # From the end, so that the first of several equal ones is the last in the text.
        keys, back, number = np.unique(
            (contexts * vocab_size + ids[ends])[::-1], return_index=True, return_inverse=True
        )
        number = number[::-1]
        last = ends[len(ends) - 1 - back]
        counts, begins = _counted(sequence, number, ends, n)
        grams.append(Grams(keys, counts, begins, numbers[last], _after(sequence, last)))
        numbers[ends] = number
    return grams


def _counted(sequence: Sequence, number: Ids, ends: Ids, length: int) -> tuple[Ids, Ids]:
    """Return how often each n-gram is there, and how often at the beginning of a text."""
    if sequence.depth is None:
        counts = np.bincount(number)
        return counts, np.zeros_like(counts)
    depth, size = sequence.depth[ends], int(number.max(initial=-1)) + 1
    own = number[depth > 0]  # not what is read before a text
    begins = number[depth == length] if length else own[:0]
    return np.bincount(own, minlength=size), np.bincount(begins, minlength=size)


def _after(sequence: Sequence, last: Ids) -> NDArray[np.uint32]:
    """Return the places in the text after these of a sequence."""
    places = last if sequence.places is None else sequence.places[last]
    return (places + 1).astype(np.uint32)


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
