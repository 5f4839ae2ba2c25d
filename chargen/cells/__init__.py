"""The recurrent cells. Each module holds one family: its equations, a step form that is the
definition, and a fast form over all steps that must equal it.

Legend of shapes: B lanes (batch), T steps, I inputs, H hidden units.
"""

from __future__ import annotations

from collections.abc import Callable

from chargen.cells.base import Cell, State
from chargen.cells.gru import GRU
from chargen.cells.lstm import LSTM
from chargen.cells.rnn import RNN

CELL_CLASSES: dict[str, Callable[[int, int], Cell]] = {"rnn": RNN, "lstm": LSTM, "gru": GRU}

__all__ = ["CELL_CLASSES", "GRU", "LSTM", "RNN", "Cell", "State"]
