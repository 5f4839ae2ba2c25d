"""Boxes, arrows and words of a picture that is drawn by hand."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Point = tuple[float, float]
BEHIND, EDGES, BOXES, WORDS = 1, 2, 3, 4  # what is drawn over what
LETTERS = 112  # that fit an inch, times their size


class Pen:
    """What boxes, arrows and words are drawn with; all coordinates are inches.

    Args:
        width: of the picture.
        height: of the picture.
    """

    def __init__(self, width: float, height: float) -> None:
        from matplotlib.figure import Figure

        self.figure: Figure = Figure(figsize=(width, height))
        self._axes: Axes = self.figure.add_axes((0, 0, 1, 1))
        self._axes.set(xlim=(0, width), ylim=(0, height))
        self._axes.axis("off")

    def text(self, place: Point, words: str, **style: Any) -> None:
        """Write words, centred unless the style says otherwise."""
        usual = {"ha": "center", "va": "center", "size": 9, "zorder": WORDS}
        self._axes.text(*place, words, **{**usual, **style})

    def lines(self, centre: Point, width: float, lines: Sequence[str]) -> None:
        """Write the lines of a box, the first one as its name; long ones are smaller."""
        for number, words in enumerate(lines):
            visible = re.sub(r"[$_{}\\]|mathrm", "", words)
            size = min(8.5 if number else 10, LETTERS * width / len(visible))
            weight = "normal" if number else "bold"
            height = centre[1] + 0.21 * ((len(lines) - 1) / 2 - number)
            self.text((centre[0], height), words, size=size, weight=weight)

    def box(self, centre: Point, size: Point, colour: str) -> None:
        """Draw a box with round corners, filled with a light tone of its colour."""
        from matplotlib.patches import FancyBboxPatch

        corner = centre[0] - size[0] / 2, centre[1] - size[1] / 2
        style: dict[str, Any] = {"facecolor": _light(colour), "edgecolor": colour}
        shape = "round,pad=0,rounding_size=0.08"
        self._axes.add_patch(
            FancyBboxPatch(corner, *size, shape, linewidth=1.3, zorder=BOXES, **style)
        )

    def circle(self, centre: Point, radius: float, words: str) -> None:
        """Draw a circle with words in it."""
        from matplotlib.patches import Circle

        style = {"facecolor": "white", "edgecolor": "black", "linewidth": 1.1}
        self._axes.add_patch(Circle(centre, radius, zorder=BOXES, **style))
        self.text(centre, words, size=11)

    def arrow(
        self, *points: Point, colour: str = "black", width: float = 1.2, order: int = EDGES
    ) -> None:
        """Draw an arrow along points."""
        x, y = zip(*points, strict=True)
        self._axes.plot(x[:-1], y[:-1], color=colour, linewidth=width, zorder=order)
        style = {"arrowstyle": "-|>,head_width=0.2,head_length=0.4", "color": colour}
        ends = {"shrinkA": 0, "shrinkB": 0, "linewidth": width, "zorder": order}
        self._axes.annotate("", points[-1], points[-2], arrowprops={**style, **ends}, zorder=order)


def _light(colour: str) -> tuple[float, ...]:
    from matplotlib.colors import to_rgb

    return tuple(1 - 0.16 * (1 - part) for part in to_rgb(colour))
