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
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chargen.errors import CheckpointError
from chargen.model.match import WIDTH, LongestMatch, Numbers
from chargen.storage.checkpoint import Tensors

Probabilities = NDArray[np.float32]

PREFIX = "counts."
SHORT = 3  # contexts up to this length have their distribution kept once it was asked for
KEPT = 1 << 22  # numbers in the distributions that are kept, at most
KEPT_AS = (np.float32, np.float16)  # single tokens leave little to those never seen: exactly
KINDS = (np.uint8, np.uint16, np.uint32)  # of whole numbers in a file
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
        self.vocab_size, self.levels, self.match = vocab_size, levels, match
        self.order = len(levels)
        self._first = [np.concatenate([[0], np.cumsum(x.lengths, dtype=np.int64)]) for x in levels]
        self._firsts = [first.data for first in self._first]  # quicker for single numbers
        self._token = [level.tokens.data for level in levels]
        self._own = [level.own.data for level in levels]
        self._rest = [level.rest() for level in levels]
        self._keys: dict[int, Numbers] = {}
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

    def _contexts(self, numbers: Numbers, ids: Numbers) -> Numbers:
        """Return the numbers of the contexts after each of ids (B, T), (B, T, N-1)."""
        after = np.zeros((*ids.shape, self.order - 1), np.int64)
        context = np.ones(ids.shape, np.int64)  # of no token: there is one
        for n in range(self.order - 1):
            after[..., n] = self._find(n, context, ids)
            context = np.concatenate([numbers[:, n, None], after[:, :-1, n]], axis=1)
        return after

    def _advanced(self, state: list[int], token: int) -> Numbers:
        contexts = self._next(state[:-WIDTH], token)
        longest = contexts[-1] if contexts else 1
        return np.array([[contexts + self.match.follow(state[-WIDTH:], longest, token)]])

    def _next(self, numbers: list[int], token: int) -> list[int]:
        after, context = [], 1
        for n in range(self.order - 1):
            place = self._place(n, context, token) if context else 0
            after.append(place)
            context = numbers[n]
        return after

    def _place(self, n: int, context: int, token: int) -> int:
        first, last = self._firsts[n][context - 1], self._firsts[n][context]
        place = bisect.bisect_left(self._token[n], token, first, last)
        return place + 1 if place < last and self._token[n][place] == token else 0

    def _find(self, n: int, contexts: Numbers, ids: Numbers) -> Numbers:
        """Return the number of the n-gram of each context and token, or 0."""
        if n not in self._keys:  # one token after another needs none
            self._keys[n] = self._keys_of(n)
        keys = self._keys[n]
        wanted = np.where(contexts > 0, (contexts - 1) * self.vocab_size + ids, -1)
        place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        return np.where(keys[place] == wanted, place + 1, 0)

    def _keys_of(self, n: int) -> Numbers:
        """Return context's place * V + token of each n-gram, sorted."""
        level = self.levels[n]
        contexts = np.repeat(np.arange(len(level.lengths)), level.lengths)
        return contexts * self.vocab_size + level.tokens

    def probabilities(self, state: Numbers) -> Probabilities:
        """Return the distribution of the next token in each state, (M, V), of (M, N+1)."""
        numbers = state[:, :-WIDTH]
        if len(numbers) == 1:
            return self._row(numbers[0].tolist())[None]
        rows = np.full((len(numbers), self.vocab_size), 1 / self.vocab_size, np.float32)
        contexts = np.concatenate([np.ones((len(numbers), 1), np.int64), numbers], axis=1)
        for n in range(self.order):
            met = np.flatnonzero(contexts[:, n])
            self._mix(n, rows, met, contexts[met, n] - 1)
        return rows

    def _mix(self, n: int, rows: Probabilities, met: Numbers, contexts: Numbers) -> None:
        """Turn the probabilities of order n into those of the next, in the rows that know it."""
        level, first = self.levels[n], self._first[n]
        lengths = level.lengths[contexts].astype(np.int64)
        starts = np.cumsum(lengths) - lengths
        grams = np.repeat(first[contexts] - starts, lengths) + np.arange(lengths.sum())
        rows[met] *= self._rest[n][contexts][:, None]
        rows[np.repeat(met, lengths), level.tokens[grams]] += level.own[grams]

    def _row(self, numbers: list[int]) -> Probabilities:
        """Return the distribution after one context: short ones from memory."""
        contexts = [1, *numbers]
        known = contexts.index(0) if 0 in contexts else self.order
        short = min(known, SHORT)
        row = self._kept.get((short, contexts[short - 1]))
        if row is None:
            row = np.full(self.vocab_size, 1 / self.vocab_size, np.float32)
            for n in range(short):
                self._add(n, row, contexts[n] - 1)
            if len(self._kept) * self.vocab_size < KEPT:
                self._kept[short, contexts[short - 1]] = row
        row = row.copy()
        for n in range(short, known):
            self._add(n, row, contexts[n] - 1)
        return row

    def _add(self, n: int, row: Probabilities, context: int) -> None:
        first, last = self._firsts[n][context], self._firsts[n][context + 1]
        row *= self._rest[n][context]
        if last - first > FEW:
            row[self.levels[n].tokens[first:last]] += self.levels[n].own[first:last]
            return
        for gram in range(first, last):
            row[self._token[n][gram]] += self._own[n][gram]

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
