"""Heat map of a text: background colours by surprisal, or by the model that wrote a character."""

from __future__ import annotations

from collections.abc import Sequence

HEAT = (("#ffd75f", 2.0), ("#ff9f40", 4.0), ("#ff5f5f", 6.0), ("#d75fff", 8.0))
"""The colour of each step, and the bits per character from which it counts."""


def level(bits_per_char: float) -> int:
    """Return the number of the step that a surprisal reaches; 0 is none."""
    return sum(bits_per_char >= least for _, least in HEAT)


def legend() -> list[tuple[int, str]]:
    """Return the number of each step and its label; step 0 has the end of the legend."""
    steps = [(step, f" {bits:.0f} bits ") for step, (_, bits) in enumerate(HEAT, 1)]
    return [*steps, (0, " or more per character")]


WRITERS = (
    *("#8fd3ff", "#ffc46b", "#a8e6a1", "#f4a6c8", "#cdbcff", "#e3dc6f", "#7fe0d2", "#ffab91"),
)
"""The colour of each model of a mixture."""
DECIDED = 0.75  # probability from which a character counts as a model's own


def writer(responsibilities: Sequence[float]) -> int:
    """Return the number of the model that wrote a character, from 1; 0 if that is not clear."""
    best = max(range(len(responsibilities)), key=lambda number: responsibilities[number])
    return best + 1 if responsibilities[best] >= DECIDED else 0


def writers(names: Sequence[str]) -> list[tuple[int, str]]:
    """Return the number of each model and its label; step 0 has the end of the legend."""
    return [*((n, f" {name} ") for n, name in enumerate(names, 1)), (0, f" from {DECIDED:.0%} on")]
