"""Rules on text as automata: what may come next, and how far it still is to a possible end.

An automaton reads one character at a time. It knows only the characters that a model can write
(A of them), and takes those that it never tells apart for one class (K classes). From each
state it knows the fewest characters after which the text may end; that a text of limited length
can still be completed is then one comparison.
"""

from __future__ import annotations

import functools
import heapq
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chargen.tokenizers import Tokenizer

NEVER = 1 << 30  # characters: more than any text has
KEPT = 20_000  # states that are remembered at most
SEARCH = 2_000  # states looked into for one distance of a product
FIRST_SEARCH = 100_000  # the same for its start, on which all else rests

State = Any  # hashable; each automaton has its own
Counts = NDArray[np.int32]
Classes = NDArray[np.int64]


class Alphabet:
    """The characters that a model can write, in order of code points.

    Attributes:
        codes: their code points (A,).
        text: the same as a text of A characters.
    """

    def __init__(self, codes: NDArray[np.int64]) -> None:
        self.codes = codes
        self.text = codes.astype("<u4").tobytes().decode("utf-32-le")

    def find(self, character: str) -> int:
        """Return the place of a character, or -1 if it cannot be written."""
        place = int(self.codes.searchsorted(ord(character)))
        return place if self.text[place : place + 1] == character else -1


def alphabet_of(tokenizer: Tokenizer) -> Alphabet:
    """Return the characters that a tokenizer's ids can spell: all of Unicode if bytes are ids."""
    banned = set(tokenizer.never_sampled)
    pieces = {piece for id, piece in enumerate(tokenizer.pieces) if id not in banned}
    if all(bytes([byte]) in pieces for byte in (*range(0x80, 0xC0), *range(0xC2, 0xF5))):
        return _all_of_unicode()
    texts = [piece.decode() for piece in pieces if _is_text(piece)]
    return Alphabet(np.array(sorted(map(ord, set("".join(texts)))), np.int64))


@functools.cache
def _all_of_unicode() -> Alphabet:
    return Alphabet(np.concatenate([np.arange(0xD800), np.arange(0xE000, 0x110000)]))


def _is_text(piece: bytes) -> bool:
    try:
        piece.decode()
    except UnicodeDecodeError:
        return False
    return True


class Automaton(ABC):
    """A rule on texts, read character by character; deterministic, grown where it is visited.

    Attributes:
        alphabet: the characters that can be written.
        classes: the class of each of them (A,), from 0 to K - 1.
        samples: a character of each class (K,), as its place in the alphabet.
    """

    def __init__(self, alphabet: Alphabet, classes: Classes) -> None:
        self.alphabet = alphabet
        self.classes = classes
        count = int(classes.max(initial=-1)) + 1
        self.samples: Classes = np.zeros(count, np.int64)
        # The first of each class: of several writes to one place the last one stays.
        self.samples[classes[::-1]] = np.arange(len(classes))[::-1]

    @abstractmethod
    def start(self, before: str = "") -> State:
        """Return the state in which nothing is written yet, after a text that was there before."""

    @abstractmethod
    def step(self, state: State, kind: int) -> State:
        """Return the state after a character of a class; None if no text may go on so."""

    @abstractmethod
    def distance(self, state: State) -> int:
        """Return the fewest characters to a possible end: 0 if it may be here, NEVER if none is."""

    @abstractmethod
    def needs(self, state: State) -> Counts:
        """Return for each class the fewest characters to an end through such a one (K,)."""

    def need(self, state: State, kind: int) -> int:
        """Return ``needs(state)[kind]``."""
        return int(self.needs(state)[kind])

    def free(self, state: State) -> int:
        """Return a number of characters of which any text is allowed, and may end anywhere."""
        return 0


def number_classes(classes: Classes) -> Classes:
    """Return the same classes (A,), numbered from 0 without gaps."""
    if classes.max(initial=0) > 8 * len(classes) + 1000:
        return np.unique(classes, return_inverse=True)[1].reshape(-1)
    there = np.bincount(classes) > 0
    numbers: Classes = np.cumsum(there) - 1
    return numbers[classes]


class Product(Automaton):
    """Several rules at once.

    A state is the states of all. Where all but one are free for as long as that one needs to an
    end, its distance is that of all. Otherwise the largest of the distances is never above that
    of all together, so that A* finds the true one, mostly in a straight line. All states on the
    way have their distance then, and states from which the search ran dry have none. A search is
    given up after ``SEARCH`` states: such a state counts as one without an end. So whatever is
    allowed can truly be completed, though in a hard case not all that could be completed is
    allowed.
    """

    def __init__(self, parts: Sequence[Automaton]) -> None:
        self.parts = tuple(parts)
        classes = self.parts[0].classes
        for part in self.parts[1:]:
            classes = number_classes(classes * len(part.samples) + part.classes)
        super().__init__(self.parts[0].alphabet, classes)
        self._kinds = [part.classes[self.samples] for part in self.parts]  # (K,) each
        self._known: dict[State, int] = {}
        self._patience = SEARCH

    def start(self, before: str = "") -> State:
        """Return the starts of all."""
        state = tuple(part.start(before) for part in self.parts)
        if not self.least(state)[1]:
            _Search(self, state, FIRST_SEARCH).run()
        return state

    def step(self, state: State, kind: int) -> State:
        """Return the states after a character of a class; None if one of them is none."""
        after = []
        for part, own, kinds in zip(self.parts, state, self._kinds, strict=True):
            after.append(part.step(own, int(kinds[kind])))
            if after[-1] is None:
                return None
        return tuple(after)

    def distance(self, state: State) -> int:
        """Return the fewest characters to an end of all, looked for and remembered."""
        least, exact = self.least(state)
        return least if exact else _Search(self, state, self._patience).run()

    def needs(self, state: State) -> Counts:
        """Return for each class the fewest characters to an end through such a one (K,)."""
        needs = self.least_needs(state)
        _, free = self.bound(state)
        for kind in np.flatnonzero((needs > free) & (needs < NEVER)).tolist():
            needs[kind] = self.need(state, kind)
        return needs

    def need(self, state: State, kind: int) -> int:
        """Return the fewest characters to an end through a character of a class."""
        after = self.step(state, kind)
        return NEVER if after is None else min(NEVER, 1 + self.distance(after))

    def free(self, state: State) -> int:
        """Return the smallest number of free characters."""
        return min(part.free(own) for part, own in zip(self.parts, state, strict=True))

    def bound(self, state: State) -> tuple[int, int]:
        """Return which part is the least free, and for how many characters all others are."""
        free = [part.free(own) for part, own in zip(self.parts, state, strict=True)]
        least = free.index(min(free))
        return least, min(free[:least] + free[least + 1 :], default=NEVER)

    def least_needs(self, state: State) -> Counts:
        """Return what each class needs at least (K,), since one of the rules needs it."""
        parts = zip(self.parts, state, self._kinds, strict=True)
        needs: Counts = np.maximum.reduce([part.needs(own)[kinds] for part, own, kinds in parts])
        return needs

    def least(self, state: State) -> tuple[int, bool]:
        """Return a number of characters without which there is no end, and if it is the fewest."""
        known = self._known.get(state)
        if known is not None:
            return known, True
        distances = [part.distance(own) for part, own in zip(self.parts, state, strict=True)]
        largest = max(distances)
        if largest in (0, NEVER):
            return largest, True
        tightest, free = self.bound(state)
        return largest, largest == distances[tightest] <= free

    def be_patient(self) -> bool:
        """Give up only after ``FIRST_SEARCH`` states from now on; False if it was so already."""
        again = self._patience < FIRST_SEARCH
        self._patience = FIRST_SEARCH
        self._known.clear()
        return again

    def remember(self, states: dict[State, int]) -> None:
        """Keep the distances of states."""
        if len(self._known) > 10 * KEPT:
            self._known.clear()
        self._known.update(states)


class _Search:
    """A*: the way from a state of a product to the nearest end."""

    def __init__(self, product: Product, origin: State, limit: int) -> None:
        self._product = product
        self._limit = limit
        self._came: dict[State, tuple[int, State]] = {}  # depth and the state before
        self._exact: set[State] = set()  # states whose distance is known
        self._queue: list[tuple[int, int, int, State]] = []
        self._reached = 0
        self._reach(origin, 0, None)

    def run(self) -> int:
        """Return the distance of the origin, and remember what was found on the way."""
        queue, done = self._queue, set[State]()
        origin = queue[0][-1]
        while queue and queue[0][0] < NEVER:
            total, _, _, state = heapq.heappop(queue)
            if state in self._exact:
                self._remember_way(state, total)
                return total
            if len(done) == self._limit:
                self._product.remember({origin: NEVER})
                return NEVER
            if state not in done:
                done.add(state)
                self._look_around(state)
        self._product.remember(dict.fromkeys([*done, origin], NEVER))
        return NEVER

    def _look_around(self, state: State) -> None:
        depth = self._came[state][0] + 1
        for kind in np.flatnonzero(self._product.least_needs(state) < NEVER).tolist():
            after = self._product.step(state, kind)
            if after is not None and depth < self._came.get(after, (NEVER, None))[0]:
                self._reach(after, depth, state)

    def _reach(self, state: State, depth: int, before: State) -> None:
        """Put a state into the queue: of equal ones the deepest comes first, then the newest."""
        self._came[state] = depth, before
        least, exact = self._product.least(state)
        if exact:
            self._exact.add(state)
        self._reached += 1
        heapq.heappush(self._queue, (depth + least, -depth, -self._reached, state))

    def _remember_way(self, state: State, total: int) -> None:
        way: dict[State, int] = {}
        while state is not None:
            depth, before = self._came[state]
            way[state] = total - depth
            state = before
        self._product.remember(way)
