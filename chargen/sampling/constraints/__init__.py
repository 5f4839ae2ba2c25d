"""Rules that a generated text keeps, whatever the model would rather write.

A rule is an automaton over characters (``patterns``, ``wordlist``, ``copies``, or a product of
them); here it becomes one over a tokenizer's ids: which of them may be drawn, so that the text
can still be completed within the characters that are left.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chargen.errors import ConfigError
from chargen.sampling.constraints.automata import (
    NEVER,
    Alphabet,
    Automaton,
    Classes,
    Counts,
    Product,
    alphabet_of,
)
from chargen.sampling.constraints.automata import State as Inner
from chargen.sampling.constraints.copies import CopyIndex, NoCopy, load_index
from chargen.sampling.constraints.patterns import Pattern
from chargen.sampling.constraints.wordlist import WordList
from chargen.tokenizers import Tokenizer

State = Hashable
Mask = NDArray[np.bool_]

MEMORY = 1 << 26  # bytes, about, for what is remembered of states


@dataclass
class _View:
    """What is known of a state.

    Attributes:
        needs: of each id the fewest characters to an end through it, its own counted (V,).
        most: the largest of them; with so many characters left nothing more is masked.
        mask: the ids that are allowed then (V,).
        after: the states after ids that were drawn here.
    """

    needs: Counts
    most: int
    mask: Mask
    after: dict[int, State] = field(default_factory=dict)


@dataclass
class _Branch:
    """A node of the tree of all ids of several characters: what a class of characters leads to."""

    ids: list[int] = field(default_factory=list)  # that end here
    branches: dict[int, _Branch] = field(default_factory=dict)


class Constraint:
    """A rule on the whole text that is written, for one tokenizer.

    A state is that of the automaton and the bytes of a character that is not complete yet. It
    is made once and shared by all samples; what it computes about a state it remembers.

    Attributes:
        shortest: characters of the shortest text that keeps the rule.
    """

    def __init__(self, automaton: Automaton, tokenizer: Tokenizer) -> None:
        self.automaton = automaton
        self.tokenizer = tokenizer
        self.shortest = automaton.distance(automaton.start())
        if self.shortest >= NEVER:
            raise ConfigError(
                "no text was found that the model can write and that keeps all constraints; "
                "loosen one of them"
            )
        self._vocabulary = _Vocabulary(automaton, tokenizer)
        self._views: dict[State, _View] = {}
        self._kept = MEMORY // (1000 + 5 * tokenizer.vocab_size)

    def require(self, length: int) -> None:
        """Check that some text of this many characters at most keeps the rule.

        Raises:
            ConfigError: the shortest one is longer.
        """
        if length < self.shortest:
            raise ConfigError(
                f"length is {length!r}; allowed: {self.shortest} or more, "
                "the shortest text that the constraints allow"
            )

    def start(self, before: str = "") -> State:
        """Return the state in which nothing is written yet.

        Args:
            before: the prompt, of which no-copy alone takes notice: a copy may begin there.
        """
        return self.automaton.start(before), b""

    def allowed(self, state: State, left: int) -> Mask:
        """Return the ids from which the text can be completed in time (V,); not to be changed.

        Args:
            state: where the text is.
            left: characters that may still be written, those of the next id included.
        """
        view = self._view(state)
        return view.mask if left >= view.most else view.needs <= left

    def advance(self, state: State, token: int) -> State:
        """Return the state after an id that was allowed."""
        after = self._view(state).after
        if token not in after:
            after[token] = self._vocabulary.after(state, token)
        return after[token]

    def is_complete(self, state: State) -> bool:
        """Tell whether the text may end here."""
        inner, pending = _parts(state)
        return not pending and self.automaton.distance(inner) == 0

    def _view(self, state: State) -> _View:
        view = self._views.get(state)
        if view is None:
            if len(self._views) >= self._kept:
                self._views.clear()
            view = self._views[state] = self._look(state)
        return view

    def _look(self, state: State) -> _View:
        needs = self._vocabulary.needs(*_parts(state))
        mask = needs < NEVER
        mask.flags.writeable = False
        return _View(needs, int(needs[mask].max(initial=0)), mask)


class _Joint(Constraint):
    """Several constraints at once. Where all but one are free anyway, that one's view will do."""

    def __init__(self, constraints: tuple[Constraint, ...]) -> None:
        self._product = Product([constraint.automaton for constraint in constraints])
        self._constraints = constraints
        super().__init__(self._product, constraints[0].tokenizer)

    def allowed(self, state: State, left: int) -> Mask:
        """Return the ids from which the text can be completed in time (V,).

        A way to the end that led here may be forgotten by now, and too long to be found again in
        a short search; then it is looked for with more patience.
        """
        mask = super().allowed(state, left)
        stuck = left > 0 and not mask.any() and not self.is_complete(state)
        if stuck and self._product.be_patient():
            self._views.clear()
            mask = super().allowed(state, left)
        return mask

    def _look(self, state: State) -> _View:
        inner, pending = _parts(state)
        tightest, free = self._product.bound(inner)
        view = self._constraints[tightest]._view((inner[tightest], pending))
        if view.most <= free:
            return _View(view.needs, view.most, view.mask)
        return super()._look(state)


def _parts(state: State) -> tuple[Inner, bytes]:
    assert isinstance(state, tuple)
    return state[0], state[1]


class _Vocabulary:
    """The ids of a tokenizer, as an automaton over characters sees them.

    Ids are one character, several characters, or a byte of a character that has more of them; an
    id that is none of these, or is never sampled, is never allowed.
    """

    def __init__(self, automaton: Automaton, tokenizer: Tokenizer) -> None:
        self._automaton = automaton
        self._pieces = tokenizer.pieces
        self._kinds: dict[bytes, Classes] = {}  # classes of the characters that begin so
        self._texts: dict[int, list[int]] = {}  # id to classes
        self._bytes: dict[int, bytes] = {}
        self._tree = _Branch()
        banned = set(tokenizer.never_sampled)
        for id, piece in enumerate(tokenizer.pieces):
            if id not in banned and piece:
                self._add(id, piece, automaton.alphabet)
        self._tell_apart()

    def _tell_apart(self) -> None:
        """Make arrays of the ids of one character, of several, and of first bytes."""
        single = {id: kinds[0] for id, kinds in self._texts.items() if len(kinds) == 1}
        self._single_ids = np.array(list(single), np.int64)
        self._single_kinds = np.array(list(single.values()), np.int64)
        leads = {id: self._beginning(byte) for id, byte in self._bytes.items()}
        self._lead_ids = np.array([id for id, kinds in leads.items() if len(kinds)], np.int64)
        self._leads = np.zeros((len(self._lead_ids), len(self._automaton.samples)), np.bool_)
        for row, id in zip(self._leads, self._lead_ids.tolist(), strict=True):
            row[leads[id]] = True  # (ids, K)
        # What ids need where all texts are allowed.
        self._lengths = np.full(len(self._pieces), NEVER, np.int32)
        for id, kinds in self._texts.items():
            self._lengths[id] = len(kinds)
        self._lengths[self._lead_ids] = 1
        self._longest = int(self._lengths[self._lengths < NEVER].max(initial=0))

    def _add(self, id: int, piece: bytes, alphabet: Alphabet) -> None:
        try:
            places = [alphabet.find(character) for character in piece.decode()]
        except UnicodeDecodeError:
            if len(piece) == 1:
                self._bytes[id] = piece
            return
        kinds = self._texts[id] = self._automaton.classes[places].tolist()
        if len(kinds) > 1:
            branch = self._tree
            for kind in kinds:
                branch = branch.branches.setdefault(kind, _Branch())
            branch.ids.append(id)

    def after(self, state: State, token: int) -> State:
        """Return the state after an id that was allowed."""
        inner, pending = _parts(state)
        if token in self._bytes:
            pending += self._bytes[token]
            kind = self._complete(pending)
            return (inner, pending) if kind is None else (self._automaton.step(inner, kind), b"")
        for kind in self._texts[token]:
            inner = self._automaton.step(inner, kind)
        return inner, b""

    def needs(self, inner: Inner, pending: bytes) -> Counts:
        """Return of each id the fewest characters to an end through it, its own counted (V,)."""
        if not pending and self._automaton.free(inner) >= self._longest:
            return self._lengths
        needs = np.full(len(self._pieces), NEVER, np.int32)
        kinds = self._automaton.needs(inner)  # (K,)
        if pending:
            for id, byte in self._bytes.items():
                needs[id] = kinds[self._beginning(pending + byte)].min(initial=NEVER)
            return needs
        needs[self._single_ids] = kinds[self._single_kinds]
        if len(self._lead_ids):
            needs[self._lead_ids] = np.where(self._leads, kinds, np.int32(NEVER)).min(1)
        self._walk(self._tree, inner, 0, needs)
        return needs

    def _walk(self, branch: _Branch, inner: Inner, depth: int, needs: Counts) -> None:
        """Fill in the ids of several characters below a node of their tree."""
        for kind, next in branch.branches.items():
            if next.ids:
                needs[next.ids] = min(NEVER, depth + self._automaton.need(inner, kind))
            if next.branches:
                after = self._automaton.step(inner, kind)
                if after is not None:
                    self._walk(next, after, depth + 1, needs)

    def _complete(self, pending: bytes) -> int | None:
        """Return the class of a character whose bytes are all there."""
        try:
            place = self._automaton.alphabet.find(pending.decode())
        except UnicodeDecodeError:
            return None
        return int(self._automaton.classes[place])

    def _beginning(self, begin: bytes) -> Classes:
        """Return the classes of the characters whose UTF-8 begins so."""
        found = self._kinds.get(begin)
        if found is None:
            codes = self._automaton.alphabet.codes
            low, high = codes.searchsorted(code_range(begin)).tolist()
            there = np.bincount(self._automaton.classes[low:high])
            found = self._kinds[begin] = np.flatnonzero(there)
        return found


def code_range(begin: bytes) -> tuple[int, int]:
    """Return the range of the code points whose UTF-8 begins with these bytes, from 0x80 up."""
    lead = begin[0]
    size = 2 + (lead >= 0xE0) + (lead >= 0xF0)
    valid = 0xC2 <= lead <= 0xF4 and all(byte & 0xC0 == 0x80 for byte in begin[1:])
    if not valid or len(begin) > size:
        return 0, 0
    code = lead & (0x7F >> size)
    for byte in begin[1:]:
        code = code << 6 | byte & 0x3F
    shift = 6 * (size - len(begin))
    least = (0x80, 0x800, 0x10000)[size - 2]  # below it, a shorter form is the only right one
    low, high = max(code << shift, least), min((code + 1) << shift, 0x110000)
    return low, max(low, high)


def regex_constraint(pattern: str, tokenizer: Tokenizer) -> Constraint:
    """Return the constraint that ``re.fullmatch(pattern, text)`` holds for the whole text.

    Raises:
        ConfigError: the pattern cannot be read, is not regular, is too large, or nothing that
            the model can write matches it.
    """
    return Constraint(Pattern(pattern, alphabet_of(tokenizer)), tokenizer)


def words_constraint(words: Iterable[str], tokenizer: Tokenizer) -> Constraint:
    """Return the constraint that all words of the text are listed ones (see ``wordlist``).

    Args:
        words: lines of a list; of a line with several words each counts alone.
        tokenizer: of the model.

    Raises:
        ConfigError: there is no word that the model can write.
    """
    return Constraint(WordList(words, alphabet_of(tokenizer)), tokenizer)


def no_copy_constraint(index: CopyIndex, n: int, tokenizer: Tokenizer) -> Constraint:
    """Return the constraint that no n characters in a row are from the training text.

    Raises:
        ConfigError: n is smaller than the window of the index.
    """
    return Constraint(NoCopy(index, n, alphabet_of(tokenizer)), tokenizer)


def both(*constraints: Constraint) -> Constraint:
    """Return the constraint that several hold at once, for one tokenizer.

    They are joined as automata, so that a text that keeps them all can always be completed.

    Raises:
        ConfigError: no text keeps them all, or none was found.
    """
    assert len({id(constraint.tokenizer) for constraint in constraints}) == 1
    if len(constraints) == 1:
        return constraints[0]
    return _Joint(constraints)


def make_constraint(
    tokenizer: Tokenizer,
    *,
    regex: str | None = None,
    words: Iterable[str] | None = None,
    no_copy: int | None = None,
    run: Path | None = None,
) -> Constraint:
    """Return the constraint that all of the given rules hold; at least one is given.

    Args:
        tokenizer: of the model.
        regex: pattern of the whole text.
        words: lines of a list; the text has no other words.
        no_copy: never so many characters in a row from the training text.
        run: folder of the run, whose index of the training text ``no_copy`` needs.

    Raises:
        ConfigError: a rule cannot be read, or nothing that the model can write keeps all.
        CheckpointError: the index is damaged.
    """
    rules = []
    if regex is not None:
        rules.append(regex_constraint(regex, tokenizer))
    if words is not None:
        rules.append(words_constraint(words, tokenizer))
    if no_copy is not None:
        index = load_index(run or Path())
        rules.append(no_copy_constraint(index, no_copy, tokenizer))
    return both(*rules)
