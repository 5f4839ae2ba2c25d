"""How text is laid out and coloured."""

from __future__ import annotations

import os

from prompt_toolkit.styles import Style
from prompt_toolkit.utils import get_cwidth

from chargen.evaluation.surprisal import HEAT

Fragment = tuple[str, str]
"""A style and a text."""


def fitting(text: str, columns: int) -> str:
    """Return as much of a text as so many columns hold."""
    for number, character in enumerate(text):
        columns -= max(1, get_cwidth(character))
        if columns < 0:
            return text[:number]
    return text


def cut(fragments: list[Fragment], columns: int) -> list[list[Fragment]]:
    """Cut text at its newlines and where the width of the terminal is full."""
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
            used += sum(max(1, get_cwidth(character)) for character in here)
        text = text[len(here) :]
        if text:
            lines.append([])
            used = 0
    return used


def heat_style(bits: float) -> str:
    """Return the style of a character that score_tokens by so many bits."""
    colour = next((c for c, least in reversed(HEAT) if bits >= least), None)
    return f"bg:{colour} #000000" if colour else ""


def style() -> Style:
    """Return our colours; without colour, ghost text is underlined."""
    ghost = "underline" if os.environ.get("NO_COLOR") else "ansibrightblack"
    return Style.from_dict(
        {
            "auto-suggestion": ghost,
            "bottom-toolbar": "noreverse ansibrightblack",
            "line": "bold",
            "said": "ansicyan",
        }
    )
