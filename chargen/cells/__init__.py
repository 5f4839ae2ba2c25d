"""The recurrent cells. Each module holds one family: its equations, a step form that is the
definition, and a fast form over all steps that must equal it.

Legend of shapes: B lanes (batch), T steps, I inputs, H hidden units.
"""

from __future__ import annotations

from collections.abc import Callable

from chargen.cells.base import Cell, State
from chargen.cells.gru import GRU, BeforeGRU
from chargen.cells.lstm import LSTM, CoupledLSTM, PeepholeLSTM
from chargen.cells.rnn import RNN, ReluRNN

CELL_CLASSES: dict[str, Callable[[int, int], Cell]] = {
    "rnn": RNN,
    "rnn-relu": ReluRNN,
    "lstm": LSTM,
    "lstm-peephole": PeepholeLSTM,
    "lstm-coupled": CoupledLSTM,
    "gru": GRU,
    "gru-before": BeforeGRU,
}

__all__ = ["CELL_CLASSES", "Cell", "State"]
