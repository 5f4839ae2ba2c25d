"""What every cell offers: a start, one step, and all steps at once."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

State = tuple[Tensor, ...]
"""A layer's recurrent state: tensors of shape (1, B, H), as torch.nn and ONNX have them."""


class Cell(nn.Module):
    """One recurrent layer.

    The weights have torch.nn's names and order: ``weight_ih_l0`` (G*H, I), ``weight_hh_l0``
    (G*H, H) and ``bias_ih_l0`` (G*H), where G is the number of blocks of H rows: gates and
    candidate. torch.nn's own layers have a second bias, ``bias_hh_l0``.

    Attributes:
        states: names of the parts of the state, in order.
    """

    states: ClassVar[tuple[str, ...]] = ("h",)
    hidden_size: int
    weight_ih_l0: Tensor
    weight_hh_l0: Tensor
    bias_ih_l0: Tensor

    def init_state(self, batch: int) -> State:
        """Return the state at the beginning of a text: zeros, (1, B, H) each."""
        zero = self.weight_hh_l0.new_zeros(1, batch, self.hidden_size)
        return tuple(zero.clone() for _ in self.states)

    def step(self, x: Tensor, state: State) -> State:
        """Return the state after one input x (B, I): the definition of the cell."""
        raise NotImplementedError

    def run(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the outputs (B, T, H) and the last state for inputs x (B, T, I)."""
        raise NotImplementedError

    def reset(self, generator: torch.Generator) -> None:
        """Draw new weights: orthogonal recurrent blocks, Xavier inputs, zeros elsewhere."""
        hidden = self.hidden_size
        for parameter in self.parameters():
            nn.init.zeros_(parameter)
        for row in range(0, self.weight_hh_l0.shape[0], hidden):
            nn.init.xavier_uniform_(self.weight_ih_l0[row : row + hidden], generator=generator)
            nn.init.orthogonal_(self.weight_hh_l0[row : row + hidden], generator=generator)


class TorchCell(Cell):
    """A cell that torch.nn has: its ``forward`` is the fast form."""

    bias_hh_l0: Tensor

    def run(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the outputs (B, T, H) and the last state for inputs x (B, T, I)."""
        if len(state) == 1:
            y, h = self(x, state[0])
            return y, (h,)
        y, last = self(x, state)
        return y, last

    def products(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return W_I x + b (B, G*H) and W_R h + b (B, G*H) for x (B, I) and h (1, B, H)."""
        inputs = nn.functional.linear(x, self.weight_ih_l0, self.bias_ih_l0)
        recurrent = nn.functional.linear(h[0], self.weight_hh_l0, self.bias_hh_l0)
        return inputs, recurrent


class WrittenCell(Cell):
    """A cell that torch.nn lacks: its backward pass through time is written by hand.

    Args:
        inputs: width of the input (I).
        hidden: number of hidden units (H).
    """

    blocks: ClassVar[int]

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.hidden_size, rows = hidden, self.blocks * hidden
        self.weight_ih_l0 = nn.Parameter(torch.zeros(rows, inputs))
        self.weight_hh_l0 = nn.Parameter(torch.zeros(rows, hidden))
        self.bias_ih_l0 = nn.Parameter(torch.zeros(rows))

    def inputs(self, x: Tensor) -> Tensor:
        """Return W_I x + b for all steps in one product, time first: (T, B, G*H)."""
        products = nn.functional.linear(x.transpose(0, 1), self.weight_ih_l0, self.bias_ih_l0)
        return products.to(self.weight_ih_l0.dtype)
