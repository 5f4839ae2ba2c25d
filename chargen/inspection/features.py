"""What a reader could follow in a text: features, a number a character.

Each number is known from the text up to and including its character, as a unit of a network
knows no more. Where a count could grow without end it stops at a bound, so that one long line
does not outweigh all others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

LONGEST_LINE = 100  # characters
LONGEST_SENTENCE = 200  # characters
DEEPEST = 8  # brackets that are open at once
MOST_LINES = 20  # without an empty one
TAB = 4  # columns


def line_position(text: str) -> Iterator[int]:
    """Yield the characters since the last newline, up to 100."""
    count = 0
    for character in text:
        count = 0 if character == "\n" else count + 1
        yield min(count, LONGEST_LINE)


def sentence_position(text: str) -> Iterator[int]:
    """Yield the characters since the last full stop, question or exclamation mark, up to 200."""
    count = 0
    for character in text:
        count = 0 if character in ".?!" else count + 1
        yield min(count, LONGEST_SENTENCE)


def lines_in_paragraph(text: str) -> Iterator[int]:
    """Yield the lines since the last empty one, up to 20."""
    count, before = 0, ""
    for character in text:
        if character == "\n":
            count = 0 if before == "\n" else count + 1
        yield min(count, MOST_LINES)
        before = character


def inside_quotes(text: str) -> Iterator[int]:
    """Yield 1 from an opening double quote up to the closing one; an empty line closes too."""
    inside, before = 0, ""
    for character in text:
        if character == '"':
            inside = 1 - inside
        elif character in "“”":
            inside = int(character == "“")
        elif character == before == "\n":
            inside = 0
        yield inside
        before = character


def bracket_depth(text: str) -> Iterator[int]:
    """Yield how many of ( [ { are open, up to 8; a bracket too many that closes is passed over."""
    depth = 0
    for character in text:
        depth += (character in "([{") - (character in ")]}" and depth > 0)
        yield min(depth, DEEPEST)


def indentation(text: str) -> Iterator[int]:
    """Yield the columns of blanks that the last line begins with whose first word has begun.

    While blanks are read this is still the line before: a number that grew with each blank
    would be told by the last few characters, not by memory.
    """
    columns, leading, shown = 0, True, 0
    for character in text:
        if character == "\n":
            columns, leading = 0, True
        elif leading and character in " \t":
            columns += TAB - columns % TAB if character == "\t" else 1
        elif leading:
            leading, shown = False, columns
        yield shown


def capital_run(text: str) -> Iterator[int]:
    """Yield 1 from the second of two capitals in a row on, until a small letter comes."""
    inside, before = 0, ""
    for character in text:
        if character.islower():
            inside = 0
        elif character.isupper() and before.isupper():
            inside = 1
        yield inside
        before = character


def inside_comment(text: str) -> Iterator[int]:
    """Yield 1 from a # or // that follows a blank or begins a line, up to the line's end."""
    inside, last = 0, "\n\n"
    for character in text:
        marks = character == "#" and last[1].isspace()
        marks = marks or (last[1] + character == "//" and last[0].isspace())
        inside = 0 if character == "\n" else inside or int(marks)
        yield inside
        last = last[1] + character


FEATURES: dict[str, Callable[[str], Iterator[int]]] = {
    "line position": line_position,
    "sentence position": sentence_position,
    "lines in paragraph": lines_in_paragraph,
    "inside quotes": inside_quotes,
    "bracket depth": bracket_depth,
    "indentation": indentation,
    "capital run": capital_run,
    "inside comment": inside_comment,
}
"""Position in the word is missing on purpose: untrained networks echo it as strongly as trained
ones follow it, because it is told by the last few characters."""


def measure(text: str) -> NDArray[np.float64]:
    """Return all features of a text, (N, F) for N characters, in the order of ``FEATURES``."""
    columns = [np.fromiter(feature(text), np.float64) for feature in FEATURES.values()]
    return np.stack(columns, axis=1)
