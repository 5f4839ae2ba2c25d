"""Automata over token ids, made of automata over characters.

An id is one character, several characters, or one byte of a longer UTF-8 sequence. An id that is
none of these, is never sampled, or has a character outside the automaton's alphabet (a banned one),
is never allowed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from chargen.sampling.constraints.automata import NEVER, Alphabet, Automaton, Classes, Counts
from chargen.sampling.constraints.automata import State as Inner
from chargen.tokenizers import Tokenizer

State = tuple[Inner, bytes]
"""A state of an automaton over characters, and the bytes of an incomplete character."""
Mask = NDArray[np.bool_]

CACHE = 1 << 26  # bytes of cached masks, about


@dataclass
class _Masks:
    """Masks of one state.

    Attributes:
        required: the fewest characters to an end through each id, its own included (V,).
        longest: the largest of them; with so many characters left, only ``mask`` counts.
        mask: ids from which there is a way to an end (V,).
        after: states after ids.
    """

    required: Counts
    longest: int
    mask: Mask
    after: dict[int, State] = field(default_factory=dict)


class TokenAutomaton:
    """An automaton over the ids of one tokenizer; what it computes is cached.

    Args:
        automaton: the same over characters.
        tokenizer: of the model.
    """

    def __init__(self, automaton: Automaton, tokenizer: Tokenizer) -> None:
        self.automaton, self.tokenizer = automaton, tokenizer
        self._vocabulary = _Vocabulary(automaton, tokenizer)
        self._masks: dict[State, _Masks] = {}
        self._most = CACHE // (1000 + 5 * tokenizer.vocab_size)  # states in the cache

    def start(self, before: str = "") -> State:
        """Return the state before the first id, after the text of a prompt."""
        return self.automaton.start(before), b""

    def distance(self, state: State) -> int:
        """Return the fewest characters to a possible end; NEVER inside of a character."""
        inner, pending = state
        return NEVER if pending else self.automaton.distance(inner)

    def allowed(self, state: State, left: int) -> Mask:
        """Return the ids after which an end is near enough (V,), read-only.

        Args:
            state: of the text so far.
            left: characters that may be added, those of the next id included.
        """
        masks = self._masks_of(state)
        return masks.mask if left >= masks.longest else masks.required <= left

    def advance(self, state: State, token: int) -> State:
        """Return the state after an id that is allowed."""
        after = self._masks_of(state).after
        if token not in after:
            after[token] = self._vocabulary.after(state, token)
        return after[token]

    def _masks_of(self, state: State) -> _Masks:
        masks = self._masks.get(state)
        if masks is None:
            if len(self._masks) >= min(self._most, self.automaton.cached):
                self._masks.clear()
            masks = self._masks[state] = self._compute(state)
        return masks

    def _compute(self, state: State) -> _Masks:
        required = self._vocabulary.required(state)
        mask = required < NEVER
        mask.flags.writeable = False
        return _Masks(required, int(required[mask].max(initial=0)), mask)


# -- ids as characters --------------------------------------------------------------------


@dataclass
class _Node:
    """A node in the tree of the ids of several characters, reached by a class of characters."""

    ids: list[int] = field(default_factory=list)  # that end here
    children: dict[int, _Node] = field(default_factory=dict)


class _Vocabulary:
    """Steps and distances of an automaton over characters, by token ids."""

    def __init__(self, automaton: Automaton, tokenizer: Tokenizer) -> None:
        self._automaton = automaton
        self._size = tokenizer.vocab_size
        self._beginnings: dict[bytes, Classes] = {}  # classes of the characters that begin so
        self._texts: dict[int, list[int]] = {}  # id to classes
        self._bytes: dict[int, bytes] = {}
        self._tree = _Node()
        banned = set(tokenizer.never_sampled)
        for id, piece in enumerate(tokenizer.pieces):
            if id not in banned and piece:
                self._add(id, piece, automaton.alphabet)
        single = {id: kinds[0] for id, kinds in self._texts.items() if len(kinds) == 1}
        self._single_ids = np.array(list(single), np.int64)
        self._single_kinds = np.array(list(single.values()), np.int64)
        self._find_lead_bytes()
        self._lengths = self._count_characters()  # what ids require where any text is allowed
        self._longest = int(self._lengths[self._lengths < NEVER].max(initial=0))

    def after(self, state: State, token: int) -> State:
        """Return the state after an id that is allowed."""
        inner, pending = state
        if token in self._bytes:
            pending += self._bytes[token]
            kind = self._completed(pending)
            return (inner, pending) if kind is None else (self._automaton.step(inner, kind), b"")
        for kind in self._texts[token]:
            inner = self._automaton.step(inner, kind)
        return inner, b""

    def required(self, state: State) -> Counts:
        """Return the fewest characters to an end through each id, its own included (V,)."""
        inner, pending = state
        if not pending and self._automaton.slack(inner) >= self._longest:
            return self._lengths
        required = np.full(self._size, NEVER, np.int32)
        kinds = self._automaton.required(inner)  # (K,)
        if pending:
            for id, byte in self._bytes.items():
                required[id] = kinds[self._beginning(pending + byte)].min(initial=NEVER)
            return required
        required[self._single_ids] = kinds[self._single_kinds]
        if len(self._lead_ids):
            required[self._lead_ids] = np.where(self._leads, kinds, np.int32(NEVER)).min(1)
        self._walk(self._tree, inner, 0, required)
        return required

    def _add(self, id: int, piece: bytes, alphabet: Alphabet) -> None:
        try:
            indices = [alphabet.find(character) for character in piece.decode()]
        except UnicodeDecodeError:
            if len(piece) == 1:
                self._bytes[id] = piece
            return
        if min(indices) < 0:
            return
        kinds = self._texts[id] = self._automaton.classes[indices].tolist()
        if len(kinds) > 1:
            node = self._tree
            for kind in kinds:
                node = node.children.setdefault(kind, _Node())
            node.ids.append(id)

    def _find_lead_bytes(self) -> None:
        """Find the ids of first bytes, and the classes that each may begin (ids, K)."""
        begun = {id: self._beginning(byte) for id, byte in self._bytes.items()}
        self._lead_ids = np.array([id for id, kinds in begun.items() if len(kinds)], np.int64)
        self._leads = np.zeros((len(self._lead_ids), len(self._automaton.examples)), np.bool_)
        for row, id in zip(self._leads, self._lead_ids.tolist(), strict=True):
            row[begun[id]] = True

    def _count_characters(self) -> Counts:
        """Return the characters that each id adds (V,)."""
        lengths = np.full(self._size, NEVER, np.int32)
        for id, kinds in self._texts.items():
            lengths[id] = len(kinds)
        lengths[self._lead_ids] = 1
        return lengths

    def _walk(self, node: _Node, inner: Inner, depth: int, required: Counts) -> None:
        """Fill in the ids of several characters below a node of their tree."""
        for kind, child in node.children.items():
            if child.ids:
                count = depth + self._automaton.required_by(inner, kind)
                required[child.ids] = min(NEVER, count)
            if child.children:
                after = self._automaton.step(inner, kind)
                if after is not None:
                    self._walk(child, after, depth + 1, required)

    def _completed(self, pending: bytes) -> int | None:
        """Return the class of a character with all its bytes; None if some are missing."""
        try:
            index = self._automaton.alphabet.find(pending.decode())
        except UnicodeDecodeError:
            return None
        return int(self._automaton.classes[index])

    def _beginning(self, begin: bytes) -> Classes:
        """Return the classes of the characters with a UTF-8 sequence that begins so."""
        found = self._beginnings.get(begin)
        if found is None:
            codes = self._automaton.alphabet.codes
            low, high = codes.searchsorted(code_range(begin)).tolist()
            there = np.bincount(self._automaton.classes[low:high])
            found = self._beginnings[begin] = np.flatnonzero(there)
        return found


def code_range(begin: bytes) -> tuple[int, int]:
    """Return the range of code points from 0x80 with a UTF-8 sequence that begins so."""
    lead = begin[0]
    size = 2 + (lead >= 0xE0) + (lead >= 0xF0)
    valid = 0xC2 <= lead <= 0xF4 and all(byte & 0xC0 == 0x80 for byte in begin[1:])
    if not valid or len(begin) > size:
        return 0, 0
    code = lead & (0x7F >> size)
    for byte in begin[1:]:
        code = code << 6 | byte & 0x3F
    shift = 6 * (size - len(begin))
    least = (0x80, 0x800, 0x10000)[size - 2]  # below it, only a shorter form is valid
    low, high = max(code << shift, least), min((code + 1) << shift, 0x110000)
    return low, max(low, high)
