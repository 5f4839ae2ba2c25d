"""N-gram counts beside a network: the probabilities of a Kneser-Ney model, ready to be looked up.

``evaluation.ngram`` makes them from a text; here they are arrays that a model file can hold and
that give the next token's distribution at any place of another text,

::

    P_n(c | h) = own(hc) + rest(h) P_{n-1}(c | h'),  P_0 = 1/V,  h' is h without its first token

The state is the number of the context of each length that ends here, 1 and up; 0 where the training
text never had it; and that of the longest match (``match``). An n-gram's number is its place among
those of its order, sorted.

Legend of shapes: B batch size, T steps, V vocabulary, N order; C contexts, G n-grams of an order.
"""

from __future__ import annotations

import bisect
import functools
import itertools
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chargen.errors import CheckpointError
from chargen.model.match import WIDTH, LongestMatch, Numbers
from chargen.storage.checkpoint import Tensors

Probabilities = NDArray[np.float32]

PREFIX = "counts."
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


class NGramCounts:
    """Kneser-Ney probabilities of one order.

    Args:
        vocab_size: number of different tokens (V).
        levels: of orders 1 to N.
        match: follows the text where its longest contexts stood.
    """

    def __init__(self, vocab_size: int, levels: tuple[Level, ...], match: LongestMatch) -> None:
        self.vocab_size, self.match, self.order = vocab_size, match, len(levels)
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

    def start(self, batch: int) -> Numbers:
        """Return the state before the beginning of a text, (B, N+1): no context is known."""
        return np.zeros((batch, self.order - 1 + WIDTH), np.int64)

    def advance(self, state: Numbers, ids: Numbers) -> Numbers:
        """Return the state after each of ids (B, T), (B, T, N+1).

        Args:
            state: before the first of them (B, N+1).
            ids: tokens.
        """
        if ids.size == 1:
            return self._advanced(state[0].tolist(), int(ids[0, 0]))
        contexts = self._contexts(state[:, :-WIDTH], ids)
        longest = contexts[..., -1] if self.order > 1 else np.ones_like(ids)
        followed = self.match.advance(state[:, -WIDTH:], longest, ids)
        return np.concatenate([contexts, followed], axis=2)

    def _contexts(self, numbers: Numbers, ids: NDArray[np.integer]) -> Numbers:
        """Return the numbers of the contexts after each of ids (B, T), (B, T, N-1)."""
        if ids.shape[1] == 1:
            return self._next(numbers[:, :-1], ids[:, 0])[:, None, : self.order - 1]
        after = np.zeros((*ids.shape, self.order - 1), np.int64)
        context = np.ones(ids.shape, np.int64)  # of no token: there is one
        for n in range(self.order - 1):
            after[..., n] = self._find(n, self._base[n] + context, ids)
            context = np.concatenate([numbers[:, n, None], after[:, :-1, n]], axis=1)
        return after

    def _advanced(self, state: list[int], token: int) -> Numbers:
        after, context = list[int](), 1
        for n in range(self.order - 1):
            after.append(self._number(n, context, token) if context else 0)
            context = state[n]
        longest = after[-1] if after else 1
        return np.array([[after + self.match.follow(state[-WIDTH:], longest, token)]])

    def _number(self, n: int, context: int, token: int) -> int:
        first, last = self._firsts[n][context], self._firsts[n][context + 1]
        gram = bisect.bisect_left(self._token, token, first, last)
        found = gram < last and self._token[gram] == token
        return gram + 1 - self._firsts[n][0] if found else 0

    def _next(self, numbers: Numbers, ids: NDArray[np.integer]) -> Numbers:
        """Return the numbers of the contexts of 1 to K+1 tokens (M, K+1), of M states (M, K)."""
        places = self._places(numbers)
        return self._find(slice(len(places)), places, ids).T

    def _places(self, numbers: Numbers) -> Numbers:
        """Return the places of the contexts of 0 to K tokens (K+1, M), of numbers (M, K)."""
        places = np.ones((1 + numbers.shape[1], len(numbers)), np.int64)
        places[1:] = numbers.T
        return np.add(places, self._base[: len(places), None], out=places)

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

    def probabilities(self, state: Numbers) -> Probabilities:
        """Return the distribution of the next token in each state, (M, V), of (M, N+1)."""
        numbers = state[:, :-WIDTH]
        if len(numbers) == 1:
            return self._row(numbers[0].tolist())[None]
        places = self._places(numbers)
        known = np.count_nonzero(numbers[:, : self._short - 1], axis=1)
        rows: Probabilities = self._table[places[known, np.arange(len(numbers))]]
        self._mix(rows, places[self._short :])
        return rows

    @functools.cached_property
    def _table(self) -> Probabilities:
        """Distributions after all short contexts, by their place."""
        table = np.full((self._base[self._short], self.vocab_size), 1 / self.vocab_size, np.float32)
        numbers = np.zeros((1, 0), np.int64)  # of all contexts of n tokens
        for n in range(self._short):
            if n:
                level = self.levels[n - 1]
                numbers = self._next(np.repeat(numbers, level.lengths, axis=0), level.tokens)
            places = self._places(numbers)
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

    def _row(self, numbers: list[int]) -> Probabilities:
        """Return the distribution after one context: short ones from memory."""
        contexts = [1, *numbers]
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

    def to_tensors(self) -> Tensors:
        """Return the arrays by name, as small as they can be."""
        tensors: Tensors = {}
        for n, level in enumerate(self.levels, 1):
            tensors |= {
                f"{PREFIX}{n}.lengths": _smallest(level.lengths),
                f"{PREFIX}{n}.tokens": _smallest(level.tokens),
                f"{PREFIX}{n}.own": level.own.astype(KEPT_AS[n > 1]),
            }
        text, last = _smallest(self.match.text), _smallest(self.match.last)
        return tensors | {f"{PREFIX}text": text, f"{PREFIX}last": last}

    @classmethod
    def from_tensors(cls, tensors: Tensors, vocab_size: int) -> NGramCounts:
        """Read what ``to_tensors`` returned.

        Raises:
            CheckpointError: they are not counts of such a vocabulary.
        """
        orders, more = divmod(len(tensors) - WIDTH, len(Level._fields))
        try:
            if more:
                raise ValueError(f"{len(tensors)} arrays")
            levels = [
                Level(
                    tensors[f"{PREFIX}{n}.lengths"],
                    tensors[f"{PREFIX}{n}.tokens"],
                    tensors[f"{PREFIX}{n}.own"].astype(np.float32),
                )
                for n in range(1, 1 + orders)
            ]
            _check(levels, vocab_size)
            match = LongestMatch(tensors[f"{PREFIX}text"], tensors[f"{PREFIX}last"])
            _check_match(match, levels, vocab_size)
        except (KeyError, ValueError, TypeError) as error:
            raise CheckpointError(f"the n-gram counts of the model are damaged: {error}") from None
        return cls(vocab_size, tuple(levels), match)


def _starts(sizes: ArrayLike) -> Numbers:
    """Return where each of several parts begins, and the end."""
    return np.append(0, np.cumsum(sizes, dtype=np.int64))


def _smallest(numbers: NDArray[np.integer]) -> NDArray[np.integer]:
    """Return numbers from 0 up in the smallest type that holds them."""
    return numbers.astype(np.min_scalar_type(int(numbers.max(initial=0))))


def _check(levels: list[Level], vocab_size: int) -> None:
    """Refuse arrays that would lead a look-up astray."""
    if not levels:
        raise ValueError("there are none")
    contexts = 1
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


def _check_match(match: LongestMatch, levels: list[Level], vocab_size: int) -> None:
    text, last = match.text, match.last
    whole = all(part.ndim == 1 and part.dtype in KINDS for part in (text, last))
    if not (whole and len(text)) or len(last) != len(levels[-1].lengths):
        raise ValueError("the longest match does not fit")
    if int(text.max(initial=0)) >= vocab_size or int(last.max(initial=0)) > len(text):
        raise ValueError("the longest match leads out of the text")
