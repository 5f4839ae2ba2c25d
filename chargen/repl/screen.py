"""Layout and colours of the session on a terminal."""

from __future__ import annotations

import os

from prompt_toolkit.styles import Style
from rich.cells import cell_len

from chargen.display.heat import HEAT, legend, level
from chargen.display.output import visible
from chargen.evaluation.surprisal import ScoredToken

Fragment = tuple[str, str]
"""A style and a text."""


def width(text: str) -> int:
    """Return the columns of a text, at least one per character."""
    return sum(max(1, cell_len(character)) for character in text)


def fitting(text: str, columns: int) -> str:
    """Return the beginning of a text that fits into some columns."""
    for number, character in enumerate(text):
        columns -= width(character)
        if columns < 0:
            return text[:number]
    return text


def cut(fragments: list[Fragment], columns: int) -> list[list[Fragment]]:
    """Cut text into lines at its newlines and at the width of the terminal."""
    lines: list[list[Fragment]] = [[]]
    used = 0
    for style, text in fragments:
        for row, part in enumerate(text.split("\n")):
            if row:
                lines.append([])
                used = 0
            used = _fill(lines, used, style, part.expandtabs(8), columns)
    return lines


def _fill(lines: list[list[Fragment]], used: int, style: str, text: str, columns: int) -> int:
    while text:
        here = fitting(text, columns - used)
        if here:
            lines[-1].append((style, here))
            used += width(here)
        text = text[len(here) :]
        if text:
            lines.append([])
            used = 0
    return used


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
