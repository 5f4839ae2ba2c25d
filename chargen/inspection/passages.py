"""A piece of text coloured by what one unit does along it, for a terminal or a picture."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from chargen.display.output import visible
from chargen.inspection.neurons import Numbers, Reading

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LENGTH = 400  # steps of a passage
COLUMNS = 72  # of a picture
STEPS = 10  # of colour
LOW, MIDDLE, HIGH = (88, 145, 255), (255, 255, 255), (255, 100, 80)  # blue, white, red

Line = list[tuple[str, int]]
"""Characters as they are shown, with their step of colour."""


@dataclass(frozen=True)
class Passage:
    """A piece of the text and how active a unit was along it.

    Attributes:
        pieces: the text that each step completed.
        levels: the unit's activity after each step, 0 its lowest and 1 its highest.
    """

    pieces: tuple[str, ...]
    levels: tuple[float, ...]


def passage(reading: Reading, unit: int) -> Passage:
    """Return the passage of the held-out half in which a unit's activity varies most.

    Lowest and highest leave out the outermost hundredth on each side of all that was read.
    """
    activity = reading.activity[:, unit].astype(np.float64)
    low, high = np.quantile(activity, [0.01, 0.99])
    levels = np.clip((activity - low) / (high - low or 1.0), 0, 1)
    start = _line_start(reading.pieces, _liveliest(levels))
    end = start + LENGTH
    return Passage(reading.pieces[start:end], tuple(levels[start:end].tolist()))


def _liveliest(levels: Numbers) -> int:
    """Return where in the second half the passage begins that varies most."""
    first = len(levels) // 2
    starts = range(first, max(first + 1, len(levels) - LENGTH), LENGTH // 4)
    return max(starts, key=lambda start: float(levels[start : start + LENGTH].var()))


def _line_start(pieces: Sequence[str], start: int) -> int:
    """Move a start back to the beginning of its line, if that is near."""
    for earlier in range(start, max(0, start - LENGTH // 4), -1):
        if pieces[earlier - 1].endswith("\n"):
            return earlier
    return start


def lines(shown: Passage, columns: int) -> list[Line]:
    """Lay a passage out in lines; newlines and control characters are shown as pictures."""
    rows: list[Line] = [[]]
    room = columns
    for piece, level in zip(shown.pieces, shown.levels, strict=True):
        for character in piece:
            look = "↵" if character == "\n" else visible(character).replace("\t", "→")
            if width(look) > room:
                rows.append([])
                room = columns
            rows[-1].append((look, min(int(level * STEPS), STEPS - 1)))
            room = 0 if character == "\n" else room - width(look)
    return rows


def width(character: str) -> int:
    """Return the columns that a terminal gives to a character."""
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def colour(step: int) -> str:
    """Return the background of a step of colour, from blue over white to red."""
    share = 2 * step / (STEPS - 1) - 1
    end, part = (HIGH, share) if share > 0 else (LOW, -share)
    mixed = (round(m + (e - m) * part) for m, e in zip(MIDDLE, end, strict=True))
    return "#" + "".join(f"{value:02x}" for value in mixed)


# -- a picture ----------------------------------------------------------------------------


def draw(passages: Sequence[tuple[str, Passage]]) -> Figure:
    """Draw passages, each below its title."""
    from matplotlib.figure import Figure

    laid_out = [(title, lines(shown, COLUMNS)) for title, shown in passages]
    heights = [len(rows) + 1.5 for _, rows in laid_out]
    figure = Figure(figsize=(6, 0.17 * sum(heights) + 0.3), layout="constrained")
    grid = figure.subplots(len(laid_out), 1, squeeze=False, height_ratios=heights)
    for axes, (title, rows) in zip(grid[:, 0], laid_out, strict=True):
        _draw_lines(axes, rows)
        axes.set_title(title, loc="left", fontsize=9, parse_math=False)
    return figure


def _draw_lines(axes: Axes, rows: list[Line]) -> None:
    font = _font()
    style: dict[str, Any] = {"family": "monospace", "fontsize": 7, "parse_math": False}
    style |= {"ha": "center", "va": "center"}
    for row, line in enumerate(rows):
        ends = np.cumsum([width(look) for look, _ in line])
        bars = [(end - width(look), width(look)) for end, (look, _) in zip(ends, line, strict=True)]
        axes.broken_barh(bars, (row, 1), facecolors=[colour(step) for _, step in line])
        for (left, wide), (look, _) in zip(bars, line, strict=True):
            known = look if font.get_char_index(ord(look)) else "□"
            axes.text(left + wide / 2, row + 0.5, known, **style)
    axes.set(xlim=(0, COLUMNS), ylim=(len(rows), 0))
    axes.set_axis_off()


def _font() -> Any:
    """Return the font of the pictures, which knows what characters it has."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    return get_font(findfont(FontProperties(family="monospace")))
