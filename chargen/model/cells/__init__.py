"""The recurrent cells. Each module holds one family: its equations, a step form that is the
definition, and a fast form over all steps that must equal it.

Legend of shapes: B lanes (batch), T steps, I inputs, H hidden units.
"""

from __future__ import annotations

from collections.abc import Callable

from chargen.model.cells.base import Cell, GatedCell, Gates, State
from chargen.model.cells.gru import GRU, BeforeGRU, NormGRU
from chargen.model.cells.lstm import LSTM, CoupledLSTM, NormLSTM, PeepholeLSTM
from chargen.model.cells.minimal import MinGRU, MinLSTM
from chargen.model.cells.rnn import RNN, NormRNN, ReluRNN

CELL_CLASSES: dict[str, Callable[[int, int], Cell]] = {
    "rnn": RNN,
    "rnn-relu": ReluRNN,
    "rnn-norm": NormRNN,
    "lstm": LSTM,
    "lstm-peephole": PeepholeLSTM,
    "lstm-coupled": CoupledLSTM,
    "lstm-norm": NormLSTM,
    "gru": GRU,
    "gru-before": BeforeGRU,
    "gru-norm": NormGRU,
    "mingru": MinGRU,
    "minlstm": MinLSTM,
}

__all__ = ["CELL_CLASSES", "Cell", "GatedCell", "Gates", "State"]
