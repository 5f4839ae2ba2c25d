"""Texts without copies of the training text, as an automaton."""

from __future__ import annotations

import functools

import numpy as np

from chargen.errors import ConfigError
from chargen.sampling.constraints.automata import NEVER, Alphabet, Automaton, Counts, State
from chargen.sampling.constraints.copies import ALL, BASE, CopyIndex


@functools.lru_cache(maxsize=4096)  # several characters are tried after each text
def _polynomial(text: str) -> int:
    total = 0
    for character in text:
        total = (total * BASE + ord(character)) & ALL
    return total


class NoCopy(Automaton):
    """Texts that never have N characters in a row from the training text.

    N characters in a row of the training text are N - W + 1 windows in a row of the index. A
    state is the last W - 1 characters and the number of windows in a row found up to here. The
    text may end anywhere; where every next character completes a copy, it has to.

    Args:
        index: of the training text.
        n: length of a forbidden copy, in characters.
        alphabet: the characters of the model.

    Raises:
        ConfigError: N is smaller than W.
    """

    def __init__(self, index: CopyIndex, n: int, alphabet: Alphabet) -> None:
        if n < index.window:
            raise ConfigError(
                f"no-copy is {n!r}; allowed: {index.window} or more characters, "
                "the window of the run's index"
            )
        self._index = index
        self._limit = n - index.window + 1  # windows in a row that make a copy
        known = np.isin(alphabet.codes, [ord(character) for character in index.alphabet])  # (A,)
        super().__init__(alphabet, np.where(known, np.cumsum(known), 0) - bool(known.all()))
        self._known = known[self.examples]  # (K,)
        self._codes = alphabet.codes[self.examples].astype(np.uint64)
        self._letters = [alphabet.text[i] for i in self.examples.tolist()]
        self._ones = np.ones(len(self.examples), np.int32)

    def start(self, before: str = "") -> State:
        """Return the state after a prompt; a copy may begin in its end."""
        tail, run = "", 0
        for character in before[-(self._limit + self._index.window) :]:
            tail, run = self._after(tail, run, character, character in self._index.alphabet)
        return tail, min(run, self._limit - 1)

    def step(self, state: State, kind: int) -> State:
        """Return the state after a character of a class; None if it completes a copy."""
        tail, run = state
        after = self._after(tail, run, self._letters[kind], bool(self._known[kind]))
        return None if after[1] >= self._limit else after

    def distance(self, state: State) -> int:
        """Return 0: the text may end anywhere."""
        return 0

    def required(self, state: State) -> Counts:
        """Return 1 for each class, or NEVER if it completes a copy (K,)."""
        if self.slack(state):
            return self._ones.copy()
        sums = np.uint64(_polynomial(state[0]) * BASE & ALL) + self._codes
        copied = self._index.contains(sums) & self._known
        return np.where(copied, np.int32(NEVER), self._ones)

    def required_by(self, state: State, kind: int) -> int:
        """Return ``required(state)[kind]``, without a look at the other classes."""
        return NEVER if self.step(state, kind) is None else 1

    def slack(self, state: State) -> int:
        """Return the number of characters that cannot complete a copy, whatever they are."""
        tail, run = state
        missing = self._index.window - 1 - len(tail)  # characters to the first window
        return int(missing + self._limit - 1 - run)

    def _after(self, tail: str, run: int, letter: str, known: bool) -> tuple[str, int]:
        window = self._index.window
        if not known:  # no window has it
            return "", 0
        if len(tail) < window - 1:
            return tail + letter, 0
        total = (_polynomial(tail) * BASE + ord(letter)) & ALL
        return (tail + letter)[1:], run + 1 if self._index.contains_one(total) else 0
