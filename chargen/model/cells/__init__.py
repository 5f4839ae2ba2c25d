"""Recurrent cells, one family per module.

Each cell has its equations, a step form that defines it, and a fast form over all steps that must
give the same results.

Legend of shapes: B batch size, T steps, I inputs, H hidden units.
"""

from __future__ import annotations

from collections.abc import Callable

from chargen.model.cells.base import Cell, GatedCell, Gates, State
from chargen.model.cells.conv import Clocked, Convolution, Decoder
from chargen.model.cells.gru import GRU, BeforeGRU
from chargen.model.cells.lstm import LSTM, CoupledLSTM, NormLSTM, PeepholeLSTM
from chargen.model.cells.minimal import MinGRU, MinLSTM
from chargen.model.cells.rnn import RNN, ReluRNN
from chargen.model.spec import CONVOLUTION, LayerConfig

_CLASSES: tuple[type[Cell], ...] = (
    *(RNN, ReluRNN),
    *(LSTM, PeepholeLSTM, CoupledLSTM, NormLSTM),
    *(GRU, BeforeGRU),
    *(MinGRU, MinLSTM),
)
CELL_CLASSES: dict[str, Callable[[int, int], Cell]] = {cell.kind: cell for cell in _CLASSES}


def make_layer(layer: LayerConfig, inputs: int) -> Cell:
    """Return a layer with weights of zeros, or of torch.nn, for an input of this width."""
    if layer.kind == CONVOLUTION:
        return Convolution(inputs, layer.hidden, layer.kernel)
    return CELL_CLASSES[layer.kind](inputs, layer.hidden)


__all__ = [
    "CELL_CLASSES",
    "Cell",
    "Clocked",
    "Decoder",
    "GatedCell",
    "Gates",
    "State",
    "make_layer",
]
