"""Features of a text that a reader can follow, one number per character.

Each number depends only on the text up to and including its character, because a unit of a
network knows no more than that. Counts are clipped at a bound, so that one long line does not
dominate a correlation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

LONGEST_LINE = 100  # characters
LONGEST_SENTENCE = 200  # characters
DEEPEST = 8  # open brackets
MOST_LINES = 20  # of a paragraph
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
    """Yield 1 from an opening double quote to the closing one; an empty line also closes."""
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
    """Yield the number of open ( [ {, up to 8; an unmatched closing bracket is ignored."""
    depth = 0
    for character in text:
        depth += (character in "([{") - (character in ")]}" and depth > 0)
        yield min(depth, DEEPEST)


def indentation(text: str) -> Iterator[int]:
    """Yield the indentation, in columns, of the last line that has a first character.

    Within the leading blanks of a line, the value is still that of the line before. A value that
    grew with each blank would follow from the last few characters, without any memory.
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
    """Yield 1 from the second of two consecutive capitals to the next lower-case letter."""
    inside, before = 0, ""
    for character in text:
        if character.islower():
            inside = 0
        elif character.isupper() and before.isupper():
            inside = 1
        yield inside
        before = character


def inside_comment(text: str) -> Iterator[int]:
    """Yield 1 from a # or // after a blank or at the start of a line, to the end of the line."""
    inside, last = 0, "\n\n"
    for character in text:
        begins = character == "#" and last[1].isspace()
        begins = begins or (last[1] + character == "//" and last[0].isspace())
        inside = 0 if character == "\n" else inside or int(begins)
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
"""The position in the word is left out on purpose: it follows from the last few characters, so an
untrained network correlates with it as strongly as a trained one."""


def measure(text: str) -> NDArray[np.float64]:
    """Return the features of each character, (N, F), in the order of ``FEATURES``."""
    columns = [np.fromiter(feature(text), np.float64) for feature in FEATURES.values()]
    return np.stack(columns, axis=1)
