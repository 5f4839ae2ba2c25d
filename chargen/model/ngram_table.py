"""Table of n-grams: the probabilities of Kneser-Ney models, ready to be looked up.

::

    P_n(c | h) = own(hc) + rest(h) P_{n-1}(c | h'),  P_0 = 1/V,  h' is h without its first token

A context has a number among those of its length, from 1 up, and 0 where the training text never had
it. The context of no token is a root: there is one, or one for each of several models in a table.
An n-gram's number is its place among those of its order, sorted.

Legend of shapes: M rows, B batch size, T steps, V vocabulary, N order; C contexts, G n-grams of an
order.
"""

from __future__ import annotations

import bisect
import functools
import itertools
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chargen.model.match import Numbers
from chargen.storage.checkpoint import Tensors

Probabilities = NDArray[np.float32]

SHORT = 3  # contexts up to this length have their distribution kept once it was asked for
KEPT = 1 << 22  # numbers in the distributions that are kept, at most
TABLE = 1 << 20  # numbers in the distributions after all short contexts, for many texts at once
KEPT_AS = (np.float32, np.float16)  # single tokens leave little to those never seen: exactly
KINDS = (np.uint8, np.uint16, np.uint32)  # of whole numbers in a file
ONE = np.ones(1, np.float32)  # an unknown context leaves everything
FEW = 12  # n-grams of a context that are quicker added one by one


class Level(NamedTuple):
    """All n-grams of one order.

    Attributes:
        lengths: n-grams that begin with each context (C), contexts in order.
        tokens: last token of each n-gram (G), rising within a context.
        own: what the n-gram itself adds to its probability (G).
    """

    lengths: NDArray[np.integer]
    tokens: NDArray[np.integer]
    own: Probabilities

    def rest(self) -> Probabilities:
        """Return the share of each context that goes to the shorter one (C): what own leaves."""
        ends = np.cumsum(self.lengths, dtype=np.int64)
        sums = np.concatenate([[0.0], np.cumsum(self.own, dtype=np.float64)])
        taken = sums[ends] - sums[ends - self.lengths]
        rest: Probabilities = np.clip(1 - taken, 0, 1).astype(np.float32)
        return rest


class NGramTable:
    """Kneser-Ney probabilities of one order, of one model or of several.

    Args:
        vocab_size: number of different tokens (V).
        levels: of orders 1 to N; the first has a context, the root, of each model.
    """

    def __init__(self, vocab_size: int, levels: tuple[Level, ...]) -> None:
        self.vocab_size, self.order, self.roots = vocab_size, len(levels), len(levels[0].lengths)
        # All orders in one array. Number 0 stands before the contexts of each length: an unknown
        # one, with which no n-gram begins and which leaves everything to the shorter one.
        self._first = _starts(np.concatenate([n for x in levels for n in ([0], x.lengths)]))
        self._rest = np.concatenate([r for x in levels for r in (ONE, x.rest())])
        self._tokens = np.concatenate([x.tokens for x in levels])
        self._own = np.concatenate([x.own for x in levels])
        self._base = _starts([1 + len(x.lengths) for x in levels])  # places of number 0 (N+1)
        self.levels = tuple(
            Level(level.lengths, self._tokens[start:end], self._own[start:end])
            for level, (start, end) in zip(
                levels, itertools.pairwise(self._first[self._base]), strict=True
            )
        )
        # Orders that give their distributions a table:
        self._short = max(1, int(np.count_nonzero(self._base * vocab_size <= TABLE)) - 1)
        # One order after another, quicker for single numbers:
        ends = list(itertools.pairwise(self._base.tolist()))
        self._firsts = [self._first[start : end + 1].data for start, end in ends]
        self._rests = [self._rest[start:end] for start, end in ends]
        self._token, self._owns = self._tokens.data, self._own.data
        self._kept: dict[tuple[int, int], Probabilities] = {}

    def advance(self, contexts: Numbers, ids: Numbers) -> Numbers:
        """Return the contexts after each of ids (B, T), (B, T, N).

        Args:
            contexts: numbers of those of 0 to N-1 tokens before the first of them (B, N).
            ids: tokens.
        """
        if ids.size == 1:
            return np.array([[self.advanced(contexts[0].tolist(), int(ids[0, 0]))]])
        after = np.empty((*ids.shape, self.order), np.int64)
        after[...] = contexts[:, None, :1]  # the root
        if ids.shape[1] == 1:
            after[:, 0, 1:] = self._next(contexts[:, :-1], ids[:, 0])
            return after
        for n in range(self.order - 1):
            before = np.concatenate([contexts[:, n, None], after[:, :-1, n]], axis=1)
            after[..., n + 1] = self._find(n, self._base[n] + before, ids)
        return after

    def advanced(self, contexts: list[int], token: int) -> list[int]:
        """Return the contexts of one text (N) after a token, quicker than those of many."""
        after = contexts[:1]  # the root
        for n, context in enumerate(contexts[:-1]):
            after.append(self._number(n, context, token) if context else 0)
        return after

    def _number(self, n: int, context: int, token: int) -> int:
        first, last = self._firsts[n][context], self._firsts[n][context + 1]
        gram = bisect.bisect_left(self._token, token, first, last)
        found = gram < last and self._token[gram] == token
        return gram + 1 - self._firsts[n][0] if found else 0

    def _next(self, contexts: Numbers, ids: NDArray[np.integer]) -> Numbers:
        """Return the contexts of 1 to K tokens after ids (M), (M, K), of those of 0 to K-1."""
        places = self._places(contexts)
        return self._find(slice(len(places)), places, ids).T

    def _places(self, contexts: Numbers) -> Numbers:
        """Return the places of contexts of 0 to K-1 tokens (K, M), of their numbers (M, K)."""
        return np.add(contexts.T, self._base[: contexts.shape[1], None], order="C")

    def _find(self, n: int | slice, places: Numbers, ids: NDArray[np.integer]) -> Numbers:
        """Return the number of the n-gram of each context and token, or 0."""
        wanted = places * self.vocab_size + ids
        gram = self._keys.searchsorted(wanted)
        number = gram + 1 - self._first[self._base[n, None]]
        return np.where(self._keys[gram] == wanted, number, 0)

    @functools.cached_property
    def _keys(self) -> Numbers:
        """Context's place * V + token of each n-gram that is a context, sorted, and an end."""
        end = self._base[-2]
        contexts = np.repeat(np.arange(end), np.diff(self._first[: end + 1]))
        keys = contexts * self.vocab_size + self._tokens[: len(contexts)]
        return np.append(keys, np.iinfo(np.int64).max)

    def probabilities(self, contexts: Numbers) -> Probabilities:
        """Return the distribution of the next token after each row of contexts (M, N), (M, V)."""
        if len(contexts) == 1:
            return self._row(contexts[0].tolist())[None]
        places = self._places(contexts)
        known = np.count_nonzero(contexts[:, 1 : self._short], axis=1)
        rows: Probabilities = self._table[places[known, np.arange(len(contexts))]]
        self._mix(rows, places[self._short :])
        return rows

    @functools.cached_property
    def _table(self) -> Probabilities:
        """Distributions after all short contexts, by their place."""
        table = np.full((self._base[self._short], self.vocab_size), 1 / self.vocab_size, np.float32)
        contexts = np.arange(1, self.roots + 1)[:, None]  # all of n tokens, shorter ones first
        for n in range(self._short):
            if n:
                level = self.levels[n - 1]
                longer = np.repeat(contexts, level.lengths, axis=0)
                contexts = np.concatenate([longer[:, :1], self._next(longer, level.tokens)], axis=1)
            places = self._places(contexts)
            rows = table[places[max(0, n - 1)]]
            self._mix(rows, places[n : n + 1])
            table[places[n]] = rows
        return table

    def _mix(self, rows: Probabilities, places: Numbers) -> None:
        """Turn probabilities into those after longer contexts (K, M), one order after another."""
        first = self._first[places].ravel()
        lengths = self._first[places + 1].ravel() - first
        starts = _starts(lengths)
        grams = np.repeat(first - starts[:-1], lengths) + np.arange(starts[-1])
        offsets = np.tile(np.arange(0, rows.size, self.vocab_size), len(places))
        into = np.repeat(offsets, lengths) + self._tokens[grams]
        own, row = self._own[grams], rows.reshape(-1)
        parts = itertools.pairwise(starts[:: len(rows)].tolist())
        for rest, (start, end) in zip(self._rest[places], parts, strict=True):
            rows *= rest[:, None]
            row[into[start:end]] += own[start:end]

    def _row(self, contexts: list[int]) -> Probabilities:
        """Return the distribution after one row of contexts: short ones from memory."""
        known = contexts.index(0) if 0 in contexts else self.order
        short = min(known, SHORT)
        row = self._kept.get((short, contexts[short - 1]))
        if row is None:
            row = np.full(self.vocab_size, 1 / self.vocab_size, np.float32)
            for n in range(short):
                self._add(n, row, contexts[n])
            if len(self._kept) * self.vocab_size < KEPT:
                self._kept[short, contexts[short - 1]] = row
        row = row.copy()
        for n in range(short, known):
            self._add(n, row, contexts[n])
        return row

    def _add(self, n: int, row: Probabilities, context: int) -> None:
        first, last = self._firsts[n][context], self._firsts[n][context + 1]
        row *= self._rests[n][context]
        if last - first > FEW:
            row[self._tokens[first:last]] += self._own[first:last]
            return
        for gram in range(first, last):
            row[self._token[gram]] += self._owns[gram]

    def to_tensors(self, prefix: str) -> Tensors:
        """Return the arrays by name, as small as they can be."""
        tensors: Tensors = {}
        for n, level in enumerate(self.levels, 1):
            tensors |= {
                f"{prefix}{n}.lengths": smallest(level.lengths),
                f"{prefix}{n}.tokens": smallest(level.tokens),
                f"{prefix}{n}.own": level.own.astype(KEPT_AS[n > 1]),
            }
        return tensors

    @classmethod
    def from_tensors(
        cls, tensors: Tensors, prefix: str, vocab_size: int, roots: int = 1
    ) -> NGramTable:
        """Read what ``to_tensors`` returned.

        Raises:
            KeyError, TypeError, ValueError: they are not a table of so many models.
        """
        orders, more = divmod(len(tensors), len(Level._fields))
        if more:
            raise ValueError(f"{len(tensors)} arrays")
        levels = [
            Level(
                tensors[f"{prefix}{n}.lengths"],
                tensors[f"{prefix}{n}.tokens"],
                tensors[f"{prefix}{n}.own"].astype(np.float32),
            )
            for n in range(1, 1 + orders)
        ]
        _check(levels, vocab_size, roots)
        return cls(vocab_size, tuple(levels))


def _starts(sizes: ArrayLike) -> Numbers:
    """Return where each of several parts begins, and the end."""
    return np.append(0, np.cumsum(sizes, dtype=np.int64))


def smallest(numbers: NDArray[np.integer]) -> NDArray[np.integer]:
    """Return numbers from 0 up in the smallest type that holds them."""
    return numbers.astype(np.min_scalar_type(int(numbers.max(initial=0))))


def _check(levels: list[Level], vocab_size: int, roots: int) -> None:
    """Refuse arrays that would lead a look-up astray."""
    if not levels:
        raise ValueError("there are none")
    contexts = roots
    for n, level in enumerate(levels, 1):
        sizes = len(level.lengths), int(level.lengths.sum(dtype=np.int64)), len(level.own)
        fits = sizes == (contexts, len(level.tokens), len(level.tokens))
        whole = all(part.ndim == 1 and part.dtype in KINDS for part in level[:2])
        if not (fits and whole and int(level.tokens.max(initial=0)) < vocab_size):
            raise ValueError(f"order {n} does not fit")
        rising = level.tokens[1:] > level.tokens[:-1]
        starts = np.cumsum(level.lengths[:-1], dtype=np.int64)
        rising[starts[(starts > 0) & (starts < len(level.tokens))] - 1] = True
        if not rising.all():
            raise ValueError(f"order {n} is not sorted")
        if not ((level.own >= 0) & (level.own <= 1)).all():
            raise ValueError(f"order {n} has no probabilities")
        contexts = len(level.tokens)
