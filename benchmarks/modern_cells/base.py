"""What the modern cells have in common: shapes of the weights, the state, and initialization.

Legend of shapes: B batch size, T steps, I inputs, H hidden units, K heads, D = H / K.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from chargen.config import TrainConfig
from chargen.model.cells import Cell, State
from chargen.model.spec import CellSpec, Shape

LSTM_RATE = 8e-3  # peak learning rate of the LSTM


class ModernCell(Cell):
    """A recurrent layer of this benchmark.

    Attributes:
        parts: one letter for each part of the state, in order.
        heads: K, the blocks of a block-diagonal recurrence; H must be a multiple of it.
        depth: layers of a model, as the cell is meant to be used.
    """

    parts: ClassVar[str]
    heads: ClassVar[int] = 1
    depth: ClassVar[int] = 1

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.hidden_size = hidden
        for name, shape in self.shapes(inputs, hidden).items():
            self.register_parameter(name, nn.Parameter(torch.zeros(shape)))

    @classmethod
    def shapes(cls, inputs: int, hidden: int) -> dict[str, Shape]:
        """Return the shape of each weight by name, for I inputs and H hidden units."""
        rows = 4 * hidden
        return {
            "weight_ih_l0": (rows, inputs),
            "bias_ih_l0": (rows,),
            "weight_hh_l0": (rows, hidden // cls.heads),
        }

    @property
    def states(self) -> str:
        """One letter for each part of the state, in order."""
        return self.parts

    def advance(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the output (B, H) and the state after an input x (B, I): the definition."""
        raise NotImplementedError

    def products(self, x: Tensor, h: Tensor) -> tuple[Tensor, ...]:
        """Return the pre-activations of the four blocks, (B, H) each, for x (B, I) and h (B, H).

        The rows of the weights are those of head 1 in blocks of D, then those of head 2, and so on.
        """
        heads = (len(x), self.heads, -1)
        recurrent = self.weight_hh_l0.view(self.heads, -1, self.weight_hh_l0.shape[1])
        own = torch.einsum("bkd,kgd->bkg", h.view(heads), recurrent)  # (B, K, 4*D)
        a = (x @ self.weight_ih_l0.T + self.bias_ih_l0).view(heads) + own
        blocks = a.chunk(4, dim=2)  # (B, K, D) each
        return tuple(block.flatten(1) for block in blocks)

    def reset(self, generator: torch.Generator, start: TrainConfig) -> None:
        """Initialize as chargen's cells, each block of D rows separately; forget biases at 1."""
        own = self.hidden_size // self.heads
        for weight in self.parameters():
            nn.init.zeros_(weight)
        for block in self.weight_ih_l0.chunk(4 * self.heads):
            nn.init.xavier_uniform_(block, generator=generator)
        for block in self.weight_hh_l0.chunk(4 * self.heads):
            nn.init.orthogonal_(block, generator=generator)
        nn.init.constant_(self.bias_ih_l0.view(self.heads, 4, own)[:, 1], start.forget_bias)


def product_type(x: Tensor) -> torch.dtype:
    """Return the type in which products of x are computed: that of autocast, or its own."""
    device = x.device.type
    auto = torch.is_autocast_enabled(device)
    return torch.get_autocast_dtype(device) if auto else x.dtype


@dataclass(frozen=True, kw_only=True)
class ModernSpec(CellSpec):
    """The row of a modern cell in the table of cells.

    Attributes:
        cell: the class, which knows the shapes of its weights.
    """

    cell: type[ModernCell]

    @classmethod
    def of(cls, cell: type[ModernCell]) -> ModernSpec:
        """Return the row of a cell."""
        memory = 0, 0  # is not estimated
        return cls(4, (), LSTM_RATE, memory, cell.parts, cell=cell)

    def shapes(self, inputs: int, hidden: int) -> dict[str, Shape]:
        """Return the shape of each weight by name, for I inputs and H hidden units."""
        return self.cell.shapes(inputs, hidden)
