"""Constraints on a generated text: a regular expression or a word list, and no copies.

A rule is an automaton over characters (``patterns``, ``wordlist``, ``no_copy``), and over the
ids of a tokenizer (``tokens``). Banned characters and stop texts (``stops``) are part of it. It
masks every id after which the text could not be completed within its length.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from chargen.config import SampleConfig, require, require_count
from chargen.errors import ConfigError
from chargen.sampling.constraints.automata import Automaton, alphabet_of
from chargen.sampling.constraints.copies import load_index
from chargen.sampling.constraints.no_copy import NoCopy
from chargen.sampling.constraints.patterns import Pattern
from chargen.sampling.constraints.stops import Ending, Rule, Stopping, StopTexts
from chargen.sampling.constraints.tokens import Mask, TokenAutomaton
from chargen.sampling.constraints.tokens import State as TokenState
from chargen.sampling.constraints.wordlist import WordList
from chargen.storage.files import read_small_text
from chargen.tokenizers import Tokenizer

State = tuple[TokenState, ...]
"""The state of each rule."""
UNLIMITED = SampleConfig()  # without banned characters and stop texts


class Constraint:
    """Rules on a whole text, which all hold; it is shared by all texts of a batch.

    Under one rule a text can always be completed. Under several, each masks the ids on its own:
    where together they allow none, the text cannot be completed, and ``is_complete`` is False.

    Attributes:
        rules: at least one.
        tokenizer: of the model.
    """

    def __init__(self, *rules: TokenAutomaton) -> None:
        self.rules = rules
        self.tokenizer = rules[0].tokenizer

    def start(self, before: str = "") -> State:
        """Return the state before the first token.

        Args:
            before: text of the prompt; only no-copy takes it into account.
        """
        return tuple(rule.start(before) for rule in self.rules)

    def allowed(self, state: State, left: int) -> Mask:
        """Return the ids that all rules allow (V,), read-only.

        Args:
            state: of the text so far.
            left: characters that may be added, those of the next id included.
        """
        masks = [rule.allowed(own, left) for rule, own in zip(self.rules, state, strict=True)]
        return masks[0] if len(masks) == 1 else np.logical_and.reduce(masks)

    def advance(self, state: State, token: int) -> State:
        """Return the state after an id that is allowed."""
        pairs = zip(self.rules, state, strict=True)
        return tuple(rule.advance(own, token) for rule, own in pairs)

    def distance(self, state: State) -> int:
        """Return the fewest characters without which no text meets every rule."""
        return max(rule.distance(own) for rule, own in zip(self.rules, state, strict=True))

    def is_complete(self, state: State) -> bool:
        """Tell whether the text may end here."""
        return self.distance(state) == 0

    @property
    def shortest(self) -> int:
        """Characters of the shortest text that meets each rule."""
        return self.distance(self.start())

    def require(self, length: int) -> None:
        """Check that a text of at most this many characters meets each rule.

        Raises:
            ConfigError: the shortest text is longer.
        """
        allowed = f"{self.shortest} or more, the shortest text that meets the constraints"
        require(length >= self.shortest, "length", length, allowed)


def make_constraint(
    tokenizer: Tokenizer,
    config: SampleConfig = UNLIMITED,
    *,
    regex: str | None = None,
    words: Iterable[str] | os.PathLike[str] | None = None,
    no_copy: int | None = None,
    run: Path | None = None,
    end: str | None = None,
) -> Constraint:
    """Return the constraint of the given rules: regex or words, and no-copy; at least one.

    Args:
        tokenizer: of the model.
        config: with the banned characters and the stop texts.
        regex: regular expression that the whole text matches.
        words: the only words that the text may have, or a file of them; each word of an entry
            with several counts alone.
        no_copy: length of a forbidden copy of the training text, in characters.
        run: folder of the run, with the index of the training text that no-copy needs.
        end: the character with which each text may end, if there is one.

    Raises:
        ConfigError: a rule is not valid, regex is given beside words or until, stop texts are too
            long, or no text of the model's characters that are not banned meets the constraints
            without a stop text.
        CheckpointError: the index is damaged.
    """
    if regex is not None and words is not None:
        raise ConfigError("regex and words cannot be combined; leave one out")
    if regex is not None and config.until is not None:
        raise ConfigError("a regex itself says where a text ends; leave until or regex out")
    alphabet, rules = alphabet_of(tokenizer, config.ban), list[Automaton]()
    stops = StopTexts(() if regex is None and words is None else config.stop, alphabet)
    if regex is not None:
        require(isinstance(regex, str), "regex", regex, "a regular expression")
        rules.append(_stopping(Pattern(regex, alphabet, stops), stops))
    if words is not None:
        rules.append(_stopping(WordList(_entries(words), alphabet, stops), stops))
    if no_copy is not None:  # it is met after any text, so that a stop text may come anywhere
        require_count("no-copy", no_copy)
        rules.append(NoCopy(load_index(run), no_copy, alphabet))
    if end is not None and alphabet.find(end) >= 0:
        rules = [Ending(rule, end) for rule in rules]
    return Constraint(*(TokenAutomaton(rule, tokenizer) for rule in rules))


def _stopping(rule: Rule, stops: StopTexts) -> Automaton:
    return Stopping(rule, stops) if stops.texts else rule


def _entries(words: Iterable[str] | os.PathLike[str]) -> Iterable[str]:
    """Return the entries of a word list, read from its file if it is one."""
    if isinstance(words, os.PathLike):
        return read_small_text(Path(words)).splitlines()
    allowed = "a list of words, or the path of a file of them"
    require(isinstance(words, Iterable) and not isinstance(words, str), "words", words, allowed)
    entries = list(words)
    for entry in entries:
        require(isinstance(entry, str), "words", entry, allowed)
    return entries
