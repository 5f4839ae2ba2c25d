"""Saturation of the gates: how often each one is nearly closed or nearly open.

Karpathy, Johnson and Fei-Fei (2015, section 4.2, figure 3) call a gate left-saturated at a step if
it is below 0.1 and right-saturated if it is above 0.9. Each unit has a fraction of steps of both.

Legend of shapes: B batch size, H hidden units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chargen.data.dataset import WARM, Segment
from chargen.display.charts import COLOURS, Chart, Series
from chargen.inspection.streams import side_by_side
from chargen.model.cells import Cell, Clocked, GatedCell, Gates, State
from chargen.model.language_model import LanguageModel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEFT, RIGHT = 0.1, 0.9
MOSTLY = 0.9  # of the steps
MEANINGS = {
    "input": "1 lets the candidate in",
    "forget": "1 keeps the memory, 0 forgets it",
    "output": "1 shows the memory, 0 hides it",
    "reset": "0 hides the old state from the candidate",
    "update": "1 keeps the old state, as z of Cho et al. 2014 (Chung et al. 2014: 1 - z)",
    "retention": "the fraction of the state that is retained",
}

Fractions = NDArray[np.float64]


@dataclass(frozen=True)
class Saturation:
    """Saturation of one gate of one layer.

    Attributes:
        layer: number of the layer, 1 at the bottom.
        gate: name of the gate in ``MEANINGS``.
        left: fraction of the steps at which the gate of each unit is below 0.1, (H,).
        right: fraction of the steps at which it is above 0.9, (H,).
    """

    layer: int
    gate: str
    left: Fractions
    right: Fractions


@torch.no_grad()
def saturation(model: LanguageModel, segment: Segment) -> list[Saturation]:
    """Measure the saturation on the beginning of a text; empty for a model without gates."""
    streams = side_by_side(segment)
    tokens, there = torch.from_numpy(streams.tokens), torch.from_numpy(streams.there)
    state = model.init_state(len(tokens))
    counts: dict[tuple[int, str], Tensor] = {}  # (3, H): left, right, all
    for step in range(tokens.shape[1]):
        state, gates = _step(model, tokens[:, step], state)
        state = tuple(part * there[:, step, None] for part in state)  # zero before the text
        for number, layer in enumerate(gates if step >= WARM else (), 1):
            for name, gate in layer.items():
                # The gates of a layer that does not step at this token are not a number.
                which = gate < LEFT, gate > RIGHT, gate.isfinite()
                sides = torch.stack([rows.sum(dim=0) for rows in which])
                counts[number, name] = counts.get((number, name), 0) + sides
    parts = {key: (count[:2].double() / count[2]).numpy() for key, count in counts.items()}
    return [Saturation(*key, *part) for key, part in parts.items()]


def _step(model: LanguageModel, tokens: Tensor, state: State) -> tuple[State, list[Gates]]:
    """Read one token per stream (B,); return the new state and the gates of each layer."""
    inputs, history = model.embed(tokens[:, None], state)
    x, rest = inputs[:, 0], state  # (B, E)
    last: list[Tensor] = []
    gates = []
    for cell in model.cells:
        own, rest = rest[: len(cell.states)], rest[len(cell.states) :]
        own, open_ = _cell_step(cell, x, own)
        x = own[0][0]  # (B, H)
        last.extend(own)
        gates.append(open_)
    return (*last, *history), gates


def _cell_step(cell: Cell, x: Tensor, state: State) -> tuple[State, Gates]:
    if isinstance(cell, GatedCell | Clocked):
        return cell.gated_step(x, state)
    return cell.step(x, state), {}


def charts(found: list[Saturation]) -> list[Chart]:
    """Return a chart for each layer that has gates: one point per unit, one marker per gate."""
    return [
        Chart(
            f"layer {layer}: one point per unit",
            f"fraction of steps below {LEFT}",
            f"fraction of steps above {RIGHT}",
            tuple(_points(part, part.gate) for part in found if part.layer == layer),
        )
        for layer in sorted({part.layer for part in found})
    ]


def _points(part: Saturation, name: str) -> Series:
    return Series(name, part.left.tolist(), part.right.tolist(), points=True)


def draw(found: list[Saturation]) -> Figure:
    """Draw the figure of the paper: one panel per gate, one colour per layer."""
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(part.gate for part in found))
    figure = Figure(figsize=(3.2 * len(names) + 0.4, 3.6), layout="constrained")
    panels = figure.subplots(1, len(names), squeeze=False, sharex=True, sharey=True)[0]
    for axes, name in zip(panels, names, strict=True):
        for part in (part for part in found if part.gate == name):
            colour = COLOURS[(part.layer - 1) % len(COLOURS)]
            style = {"color": colour, "markersize": 3, "alpha": 0.5, "markeredgewidth": 0}
            axes.plot(part.left, part.right, "o", label=f"layer {part.layer}", **style)
        axes.plot([0, 1], [1, 0], color="#999999", linewidth=0.8)
        axes.set(title=f"{name} gates", xlabel=f"fraction of steps below {LEFT}")
        axes.legend(frameon=False)
    panels[0].set(ylabel=f"fraction of steps above {RIGHT}")
    return figure
