"""Passages of a text, coloured by the activation of one unit, for a terminal or a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.cells import cell_len

from chargen.display.output import visible
from chargen.inspection.neurons import Numbers, Reading

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LENGTH = 400  # steps per passage
COLUMNS = 72  # width of a picture
STEPS = 10  # number of colours
LOW, MIDDLE, HIGH = (88, 145, 255), (255, 255, 255), (255, 100, 80)  # blue, white, red

Line = list[tuple[str, int]]
"""Characters as they are displayed, each with its step of colour."""


@dataclass(frozen=True)
class Passage:
    """A passage of the text and the activation of a unit along it.

    Attributes:
        pieces: the text that each step completed.
        levels: activation after each step, scaled to 0 for the lowest and 1 for the highest.
    """

    pieces: tuple[str, ...]
    levels: tuple[float, ...]


def passage(reading: Reading, unit: int) -> Passage:
    """Return the passage of the held-out half in which the activation of a unit varies most.

    The lowest and the highest level are the 1 % and 99 % quantiles over the whole text.
    """
    activity = reading.activity[:, unit].astype(np.float64)
    low, high = np.quantile(activity, [0.01, 0.99])
    levels = np.clip((activity - low) / (high - low or 1.0), 0, 1)
    start = _line_start(reading.pieces, _liveliest(levels))
    end = start + LENGTH
    return Passage(reading.pieces[start:end], tuple(levels[start:end].tolist()))


def _liveliest(levels: Numbers) -> int:
    """Return the start of the passage of the second half with the largest variance."""
    first = len(levels) // 2
    starts = range(first, max(first + 1, len(levels) - LENGTH), LENGTH // 4)
    return max(starts, key=lambda start: float(levels[start : start + LENGTH].var()))


def _line_start(pieces: Sequence[str], start: int) -> int:
    """Move a start back to the beginning of its line, if that is close."""
    for earlier in range(start, max(0, start - LENGTH // 4), -1):
        if pieces[earlier - 1].endswith("\n"):
            return earlier
    return start


def lines(shown: Passage, columns: int) -> list[Line]:
    """Wrap a passage into lines; newlines and control characters become visible symbols."""
    rows: list[Line] = [[]]
    room = columns
    for piece, level in zip(shown.pieces, shown.levels, strict=True):
        for character in piece:
            look = "↵" if character == "\n" else visible(character).replace("\t", "→")
            if cell_len(look) > room:
                rows.append([])
                room = columns
            rows[-1].append((look, min(int(level * STEPS), STEPS - 1)))
            room = 0 if character == "\n" else room - cell_len(look)
    return rows


def colour(step: int) -> str:
    """Return the background colour of a step, from blue over white to red."""
    level = 2 * step / (STEPS - 1) - 1  # -1 to 1
    end, part = (HIGH, level) if level > 0 else (LOW, -level)
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
        widths = [cell_len(look) for look, _ in line]
        bars = [(end - wide, wide) for end, wide in zip(np.cumsum(widths), widths, strict=True)]
        axes.broken_barh(bars, (row, 1), facecolors=[colour(step) for _, step in line])
        for (left, wide), (look, _) in zip(bars, line, strict=True):
            known = look if font.get_char_index(ord(look)) else "□"
            axes.text(left + wide / 2, row + 0.5, known, **style)
    axes.set(xlim=(0, COLUMNS), ylim=(len(rows), 0))
    axes.set_axis_off()


def _font() -> Any:
    """Return the font of the pictures, which knows the characters that it has."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    return get_font(findfont(FontProperties(family="monospace")))
