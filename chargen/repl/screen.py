"""Layout and colours of the session on a terminal."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, zip_longest

from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.formatted_text.utils import fragment_list_to_text
from prompt_toolkit.layout.processors import Processor, Transformation, TransformationInput
from prompt_toolkit.layout.utils import explode_text_fragments
from prompt_toolkit.styles import Style
from rich.cells import cell_len

from chargen.display.heat import HEAT, legend, level
from chargen.display.output import visible
from chargen.evaluation.surprisal import ScoredToken

Fragment = tuple[str, str]
"""A style and a text."""
NEVER_FIRST = "。、，！？：；．」』】》〉）’”…ー"  # of wide scripts: no row begins with them
GAP, NARROW = 3, 22  # columns between texts side by side, and the fewest that each has


def width(text: str) -> int:
    """Return the columns of a text, at least one per character."""
    return sum(max(1, cell_len(character)) for character in text)


@dataclass(frozen=True)
class Row:
    """A row of a text that is wrapped: characters from ``begin`` to ``end``, and their columns.

    Spaces for which a row has no room are left out: they stand between two rows.
    """

    begin: int
    end: int
    used: int


def wrap(text: str, columns: int, used: int = 0) -> list[Row]:
    """Wrap a text without newlines into rows; only a word longer than a row is cut.

    Args:
        text: what is wrapped.
        columns: of a row.
        used: columns of the first row that are taken.
    """
    rows, begin = list[Row](), 0
    word, before = 0, used  # the last place where the row may end, and the columns up to there
    for place, character in enumerate(text):
        size = width(character)
        if _may_break(text, place):
            word, before = place, used
        if used + size > columns and character != " " and before:
            rows.append(Row(begin, word, before))
            begin, used, before = word, used - before, 0
        if used + size > columns:  # a space, or the middle of a word that is longer than a row
            rows.append(Row(begin, place, used))
            begin, used, before = place + (character == " "), 0, 0
            word = begin
        if place >= begin:
            used += size
    return [*rows, Row(begin, len(text), used)]


def _may_break(text: str, place: int) -> bool:
    """Tell whether a new row may begin at a place: after a space, and around wide characters."""
    before, after = text[max(0, place - 1)], text[place]
    if after == " " or after in NEVER_FIRST:
        return False
    return place == 0 or before in " —" or max(map(cell_len, (before, after))) > 1


def cut(fragments: list[Fragment], columns: int) -> list[list[Fragment]]:
    """Cut text into lines at its newlines and, between words, at the width of the terminal."""
    lines: list[list[Fragment]] = [[]]
    for style, text in fragments:
        first, *others = text.split("\n")
        lines[-1].append((style, first))
        lines += [[(style, part)] for part in others]
    return [row for line in lines for row in _rows(line, columns)]


def _rows(line: list[Fragment], columns: int) -> list[list[Fragment]]:
    """Return the rows of a line."""
    line = [(style, text.expandtabs(8)) for style, text in line if text]
    ends = list(accumulate(len(text) for _, text in line))
    rows = []
    for row in wrap("".join(text for _, text in line), columns):
        parts = [
            (style, text[max(0, row.begin - end + len(text)) : max(0, row.end - end + len(text))])
            for (style, text), end in zip(line, ends, strict=True)
        ]
        rows.append([(style, text) for style, text in parts if text])
    return rows


def side_by_side(texts: Sequence[str], columns: int) -> list[list[Fragment]]:
    """Lay out numbered texts side by side, or one under another on a narrow terminal."""
    each = (columns - GAP * (len(texts) - 1)) // len(texts)
    wide = each >= NARROW
    cells = []
    for number, text in enumerate(texts, 1):
        rows = cut([("", visible(text).strip())], each if wide else columns - GAP)
        cells.append([str(number), *("".join(part for _, part in row) for row in rows)])
    if wide:
        table = zip_longest(*cells, fillvalue="")
        return [[("", (" " * GAP).join(_padded(cell, each) for cell in row))] for row in table]
    return [
        [("", _padded(number if row == 0 else "", GAP) + text)]
        for number, *rows in cells
        for row, text in enumerate(rows)
    ]


def _padded(text: str, columns: int) -> str:
    return text + " " * (columns - sum(map(width, text)))


class WordWrap(Processor):
    """Wraps what is typed between words: prompt_toolkit itself wraps between characters.

    Args:
        begin: returns the columns of the first row that are taken.
    """

    def __init__(self, begin: Callable[[], int]) -> None:
        self._begin = begin

    def apply_transformation(self, transformation_input: TransformationInput) -> Transformation:
        """Fill up each row but the last with spaces."""
        fragments = explode_text_fragments(transformation_input.fragments)
        text, columns = fragment_list_to_text(fragments), transformation_input.width
        rows = wrap(text, columns, self._begin() if transformation_input.lineno == 0 else 0)
        shown: StyleAndTextTuples = []
        places = list[int]()  # of each character on the screen
        for row, after in zip_longest(rows, rows[1:]):
            places += range(len(shown), len(shown) + row.end - row.begin)
            shown += fragments[row.begin : row.end]
            if after:
                shown.append(("", " " * (columns - row.used)))
                shown = explode_text_fragments(shown)
                places += [len(shown)] * (after.begin - row.end)
        places.append(len(shown))
        return Transformation(
            shown, places.__getitem__, lambda place: max(0, bisect_right(places, place) - 1)
        )


def heat_map(tokens: list[ScoredToken]) -> list[Fragment]:
    """Return a text coloured by surprisal, and a legend below it."""
    text = [(heat_style(level(t.bits_per_char)), visible(t.text)) for t in tokens]
    return [*text, ("", "\n"), *((heat_style(step), label) for step, label in legend())]


def heat_style(step: int) -> str:
    """Return the style of a step of surprisal; step 0 has none."""
    return f"bg:{HEAT[step - 1][0]} #000000" if step else ""


def style() -> Style:
    """Return the styles of the session; without colours, ghost text is underlined."""
    ghost = "underline" if os.environ.get("NO_COLOR") else "ansibrightblack"
    return Style.from_dict(
        {
            "auto-suggestion": ghost,
            "bottom-toolbar": "noreverse ansibrightblack",
            "line": "bold",
            "message": "ansicyan",
        }
    )
