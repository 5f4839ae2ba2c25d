"""Recurrent cells, one family per module.

Each cell has its equations, a step form that defines it, and a fast form over all steps that must
give the same results.

Legend of shapes: B batch size, T steps, I inputs, H hidden units.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from chargen.model.cells.base import Cell, GatedCell, Gates, State
from chargen.model.cells.conv import Clocked, Convolution, Decoder
from chargen.model.cells.gru import GRU, BeforeGRU
from chargen.model.cells.lstm import LSTM, CoupledLSTM, NormLSTM, PeepholeLSTM
from chargen.model.cells.minimal import MinGRU, MinLSTM
from chargen.model.cells.rnn import RNN, ReluRNN
from chargen.model.spec import CONVOLUTION, LayerConfig, ModelConfig

_CLASSES: tuple[type[Cell], ...] = (
    *(RNN, ReluRNN),
    *(LSTM, PeepholeLSTM, CoupledLSTM, NormLSTM),
    *(GRU, BeforeGRU),
    *(MinGRU, MinLSTM),
)
CELL_CLASSES: dict[str, Callable[[int, int], Cell]] = {cell.kind: cell for cell in _CLASSES}


def make_layers(config: ModelConfig) -> nn.ModuleList:
    """Return the layers of a stack, bottom first; their weights are not initialized."""
    return nn.ModuleList(map(_layer, config.layers, config.inputs))


def _layer(layer: LayerConfig, inputs: int) -> Cell:
    if layer.kind == CONVOLUTION:
        return Convolution(inputs, layer.hidden, layer.kernel)
    return CELL_CLASSES[layer.kind](inputs, layer.hidden)


def timed(layers: nn.ModuleList, periods: tuple[int, ...]) -> list[Cell]:
    """Return layers that step once in their period; they share the weights of the given ones."""
    pairs = zip(layers, periods, strict=True)
    return [Clocked(cell, period) if period > 1 else cell for cell, period in pairs]  # type: ignore[arg-type, misc]


__all__ = [
    "CELL_CLASSES",
    "Cell",
    "Clocked",
    "Convolution",
    "Decoder",
    "GatedCell",
    "Gates",
    "State",
    "make_layers",
    "timed",
]
