"""Heat map of a text: steps of surprisal per character and their background colours."""

from __future__ import annotations

HEAT = (("#ffd75f", 2.0), ("#ff9f40", 4.0), ("#ff5f5f", 6.0), ("#d75fff", 8.0))
"""The colour of each step, and the bits per character from which it counts."""


def level(bits_per_char: float) -> int:
    """Return the number of the step that a surprisal reaches; 0 is none."""
    return sum(bits_per_char >= least for _, least in HEAT)


def legend() -> list[tuple[int, str]]:
    """Return the number of each step and its label; step 0 has the end of the legend."""
    steps = [(step, f" {bits:.0f} bits ") for step, (_, bits) in enumerate(HEAT, 1)]
    return [*steps, (0, " or more per character")]
