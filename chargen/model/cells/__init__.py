"""Recurrent cells, one family per module.

Each cell has its equations, a step form that defines it, and a fast form over all steps that must
give the same results.

Legend of shapes: B batch size, T steps, I inputs, H hidden units.
"""

from __future__ import annotations

from collections.abc import Callable

from chargen.model.cells.base import Cell, GatedCell, Gates, State
from chargen.model.cells.gru import GRU, BeforeGRU
from chargen.model.cells.lstm import LSTM, CoupledLSTM, NormLSTM, PeepholeLSTM
from chargen.model.cells.minimal import MinGRU, MinLSTM
from chargen.model.cells.rnn import RNN, ReluRNN

_CLASSES: tuple[type[Cell], ...] = (
    *(RNN, ReluRNN),
    *(LSTM, PeepholeLSTM, CoupledLSTM, NormLSTM),
    *(GRU, BeforeGRU),
    *(MinGRU, MinLSTM),
)
CELL_CLASSES: dict[str, Callable[[int, int], Cell]] = {cell.kind: cell for cell in _CLASSES}

__all__ = ["CELL_CLASSES", "Cell", "GatedCell", "Gates", "State"]
