"""Ends of a text: stop texts, and whole sentences, lines and paragraphs.

A text is read piece by piece as it is generated. What may stand behind the end of a unit is held
back until the next characters decide: nothing is shown that is cut off later.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

ENDS = "?!…‽؟۔։"  # of a sentence, with a full stop, where a space follows
CLOSED = "。！？｡।॥።။"  # of a sentence in scripts without a space behind it
STOPS = "." + ENDS + CLOSED
CLOSERS = "\"'”’“‘»«›‹」』】》〉）)]}*_"  # they belong to the sentence when nothing stands between
OPENERS = "\"'“‘„‚«»‹›「『【《〈（([{*_—–-"
QUOTING = "とっな"  # behind a quotation the Japanese sentence goes on: "...」と言った"
WIDE = "，、；："  # commas and colons without a space behind them
PHRASE = ",;:" + STOPS + WIDE  # a phrase ends with one of them

# Abbreviations that a name, or anything else of the sentence, follows; and those of a number.
TITLES = (
    " mr mrs ms mx messrs dr drs prof rev hon st ste sr sra jr mme mlle capt col gen lt sgt maj"
    " cmdr adm gov sen rep pres supt vs viz cf fr hr frl ca bzw sig dott ud uds dra al approx "
)
NUMBERED = (
    " no nos nr p pp vol vols ch chap sec art fig figs op bk pt l ll jan feb mar apr jun jul aug"
    " sep sept oct nov dec "
)
WORD = re.compile(r"(?:^|[\s\"'“”‘’„«»(\[—–-])(\w[\w.]*)\.$")
PHRASES = re.compile(rf"[{re.escape(PHRASE)}]+[{re.escape(CLOSERS)}]*")
LIST_NUMBER = re.compile(r"(?:^|\n)[ \t]*\d{1,3}\.$")
KEPT = 40  # last characters that are looked back on


def find_stop(text: str, stops: Sequence[str]) -> int | None:
    """Return where the stop text begins that is complete first, the longest of several."""
    found = [(begin + len(stop), begin) for stop in stops if (begin := text.find(stop)) >= 0]
    return min(found)[1] if found else None


class Unit:
    """A text without a unit: it has no end of its own.

    Attributes:
        held: text behind a possible end, not yet returned.
        ended: the unit is complete; what is pushed then is dropped.
    """

    def __init__(self, before: str = "") -> None:
        self.held, self.ended = "", False
        self._text = before[-KEPT:]

    def push(self, piece: str) -> str:
        """Read on, and return the text that belongs to the unit for certain."""
        return piece


class _Bounded(Unit):
    """A unit with an end, which a character decides on.

    A subclass reads a character: it adds it to ``held``, ends the unit, which drops what is held,
    or leaves both, which returns what is held and the character.
    """

    def push(self, piece: str) -> str:
        before = len(self._text)
        for character in piece:
            if self.ended:
                break
            held = self.held
            self._read(character)
            if self.ended:
                self.held = ""
            elif self.held == held:
                self._text, self.held = self._text + held + character, ""
        passed, self._text = self._text[before:], self._text[-KEPT:]
        return passed

    def _read(self, character: str) -> None:
        raise NotImplementedError


class _Line(_Bounded):
    """A line; empty ones before its text do not count."""

    _breaks = 1

    def __init__(self, before: str = "") -> None:
        super().__init__(before)
        self._begun = False

    def _read(self, character: str) -> None:
        if not character.isspace():
            self._begun = True
        elif self._begun and (self.held or character in "\r\n"):
            self.held += character
            self.ended = self.held.count("\n") == self._breaks


class _Paragraph(_Line):
    """A paragraph: it ends at an empty line."""

    _breaks = 2


class _Sentence(_Bounded):
    """A sentence: it ends behind a full stop that is none of an abbreviation or a number.

    Closing quotes behind the full stop belong to it. It goes on where a lower-case letter
    follows, ``"Hello!" he said.``, unless the text has no capital letters at all.
    """

    def __init__(self, before: str = "") -> None:
        super().__init__(before)
        self._stop = ""  # the full stop, while only closing quotes followed it
        self._capitals = any(map(str.isupper, before))

    def _read(self, character: str) -> None:
        self._capitals |= character.isupper()
        if self.held:
            self._decide(character)
        elif character in STOPS:
            self._stop = character
        elif not self._stop or character in CLOSERS:
            return
        elif character.isspace() and not _abbreviates(self._text):
            self.held = character
        elif self._stop in CLOSED and not character.isspace():
            self.ended = self._text[-1] in CLOSED or character not in QUOTING
            self._stop = ""
        else:
            self._stop = ""

    def _decide(self, character: str) -> None:
        """Read a character behind a full stop and a space."""
        space = character.isspace() and (self.held + character).count("\n") < 2
        if space or character in OPENERS:
            self.held += character
        elif (character.islower() and self._capitals) or self._is_numbered(character):
            self._stop = ""
        else:
            self.ended = True

    def _is_numbered(self, character: str) -> bool:
        """Tell whether a number follows its abbreviation: ``No. 5``."""
        found = WORD.search(self._text[-KEPT:]) if character.isdigit() else None
        return found is not None and f" {found[1].lower()} " in NUMBERED


UNITS: dict[str | None, Callable[[str], Unit]] = {
    None: Unit,
    "sentence": _Sentence,
    "line": _Line,
    "paragraph": _Paragraph,
}


def phrase_end(text: str, start: int) -> int | None:
    """Return where the first phrase ends behind a place of a text: after punctuation and a space.

    Closing quotes behind the punctuation belong to the phrase.
    """
    for found in PHRASES.finditer(text, max(0, start - KEPT)):
        end, follows = found.end(), text[found.end() : found.end() + 1]
        spaced = follows.isspace() or found[0][0] in CLOSED + WIDE
        if end > start and follows and spaced and not _abbreviates(text[:end]):
            return end
    return None


def _abbreviates(text: str) -> bool:
    """Tell whether the full stop at the end of a text is that of an abbreviation or a list."""
    found = WORD.search(text[-KEPT:])
    if found is None:
        return False
    word = found[1]
    initial = len(word) == 1 and word.isupper() and word != "I"
    dotted = all(len(part) == 1 and part.isalpha() for part in word.split(".")) and "." in word
    return initial or dotted or f" {word.lower()} " in TITLES or bool(LIST_NUMBER.search(text))
