"""Stop texts under a rule: one may come only where the text before it meets the rule.

The text ends there, without the stop text, and so keeps the rule. Anywhere else a stop text would
cut a text that does not, and is excluded.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection

import numpy as np

from chargen.config import require
from chargen.sampling.constraints.automata import (
    NEVER,
    Alphabet,
    Automaton,
    CachedAutomaton,
    Counts,
    State,
    number_classes,
)

MAX_SIZE = 1000  # characters: a pattern has a distance for each node and place
STOPPED = (None, -1, ())  # after a stop text: the rest of its token is cut off


class StopTexts:
    """Automaton of stop texts (Aho and Corasick, 1975).

    A place is the longest beginning of a stop text that a text ends with, as a number below P; 0 is
    the empty one. The C characters of stop texts have a column each, all others share the last one.
    Stop texts with characters outside the alphabet cannot come and are left out.

    Attributes:
        texts: the stop texts.
        columns: the column of each character of the alphabet (A,).
        after: the place after a character, P if a stop text is complete (P, C + 1).
        lengths: characters of the longest stop text that a character completes, or 0 (P, C + 1).
        begun: characters of the beginning at each place (P,).

    Raises:
        ConfigError: the texts have more than ``MAX_SIZE`` characters in all.
    """

    def __init__(self, texts: Collection[str], alphabet: Alphabet) -> None:
        size = sum(map(len, texts))
        allowed = f"{MAX_SIZE:,} in all with regex or words"
        require(size <= MAX_SIZE, "number of characters of stop", size, allowed)
        self.texts = {text for text in texts if min(map(alphabet.find, text)) >= 0}
        letters = sorted(set("".join(self.texts)))
        self.columns = np.full(len(alphabet.codes), len(letters))
        self.columns[[alphabet.find(letter) for letter in letters]] = np.arange(len(letters))
        begun = {"", *(text[:n] for text in self.texts for n in range(len(text)))}
        ordered = sorted(begun, key=lambda beginning: (len(beginning), beginning))
        self.begun = np.array(list(map(len, ordered)))
        self.after = np.zeros((len(begun), len(letters) + 1), np.int64)
        self.lengths = np.zeros_like(self.after)
        self._fill({text: place for place, text in enumerate(ordered)}, letters)
        self.after[self.lengths > 0] = len(begun)

    def _fill(self, places: dict[str, int], letters: list[str]) -> None:
        """Fill in the tables, from short beginnings to long ones."""
        shorter = [0] * len(places)  # the place of the longest proper end of each beginning
        for beginning, place in places.items():
            if beginning:
                self.after[place] = self.after[shorter[place]]
                self.lengths[place] = self.lengths[shorter[place]]
            for column, letter in enumerate(letters):
                longer = places.get(beginning + letter)
                if beginning + letter in self.texts:
                    self.lengths[place, column] = len(beginning) + 1
                if longer is not None:
                    shorter[longer] = int(self.after[place, column])
                    self.after[place, column] = longer


class Rule(CachedAutomaton):
    """An automaton of texts without a stop text, where none is begun at the start of a text."""

    @abstractmethod
    def clear(self, state: State, place: int) -> int:
        """Return the fewest characters to a possible end that complete no stop text.

        Args:
            state: of the rule.
            place: of the stop texts; at place 0 the result is ``distance(state)``.
        """


class Stopping(CachedAutomaton):
    """Texts under a rule, each of which may be ended by a stop text.

    A state is that of the rule, the place of the stop texts, and for each character of the
    beginning at this place whether the text before it met the rule.
    """

    def __init__(self, rule: Rule, stops: StopTexts) -> None:
        width = stops.after.shape[1]
        super().__init__(rule.alphabet, number_classes(rule.classes * width + stops.columns))
        self._rule, self._stops = rule, stops
        self._own = rule.classes[self.examples]  # (K,)
        self._columns = stops.columns[self.examples]  # (K,)
        self._of_stops = np.flatnonzero(self._columns < width - 1).tolist()

    def start(self, before: str = "") -> State:
        """Return the state before the first character; stop texts are not found in a prompt."""
        return self._rule.start(before), 0, ()

    def step(self, state: State, kind: int) -> State:
        """Return the state after a character of a class; None if no text continues so."""
        if state == STOPPED:
            return STOPPED
        own, place, met = state
        after, column = self._rule.step(own, int(self._own[kind])), self._columns[kind]
        self.cached = self._rule.cached
        if after is None:
            return None
        met = (*met, self._rule.distance(own) == 0)
        if length := int(self._stops.lengths[place, column]):
            return STOPPED if met[-length] else None
        place = int(self._stops.after[place, column])
        if self._rule.clear(after, place) >= NEVER:
            return None
        return after, place, met[len(met) - int(self._stops.begun[place]) :]

    def distance(self, state: State) -> int:
        """Return the fewest characters to an end of the rule; 0 after a stop text."""
        return 0 if state == STOPPED else self._rule.clear(*state[:2])

    def _compute_required(self, state: State) -> Counts:
        if state == STOPPED:
            return np.ones(len(self.examples), np.int32)
        required = self._rule.required(state[0])[self._own]  # right where no stop text is begun
        for kind in self._of_stops:
            after = self.step(state, kind)
            required[kind] = NEVER if after is None else 1 + self.distance(after)
        return required


class Ending(CachedAutomaton):
    """Texts under a rule, each of which is over at END, which may come where the rule is met.

    Args:
        rule: on the text without END.
        end: the character END, one of the rule's alphabet.
    """

    def __init__(self, rule: Automaton, end: str) -> None:
        place = rule.alphabet.find(end)
        is_end = np.arange(len(rule.classes)) == place
        super().__init__(rule.alphabet, number_classes(2 * rule.classes + is_end))
        self._rule, self._end = rule, int(self.classes[place])
        self._own = rule.classes[self.examples]  # (K,)

    def start(self, before: str = "") -> State:
        """Return the state before the first character, after the text of a prompt."""
        return self._rule.start(before)

    def step(self, state: State, kind: int) -> State:
        """Return the state after a character of a class; None if no text continues so."""
        if state == STOPPED:
            return STOPPED
        if kind == self._end:
            return None if self._rule.distance(state) else STOPPED
        after = self._rule.step(state, int(self._own[kind]))
        self.cached = self._rule.cached
        return after

    def distance(self, state: State) -> int:
        """Return the fewest characters to an end of the rule; 0 after END."""
        return 0 if state == STOPPED else self._rule.distance(state)

    def slack(self, state: State) -> int:
        """Return a number of characters for which any text is allowed and may end anywhere."""
        return 0 if state == STOPPED else self._rule.slack(state)

    def _compute_required(self, state: State) -> Counts:
        if state == STOPPED:
            return np.ones(len(self.examples), np.int32)
        required = self._rule.required(state)[self._own]
        required[self._end] = NEVER if self._rule.distance(state) else 1
        return required
