"""What every cell offers: a start, one step, and all steps at once."""

from __future__ import annotations

import torch
from torch import Tensor, nn

State = tuple[Tensor, ...]
"""A layer's recurrent state: tensors of shape (1, B, H), as torch.nn and ONNX have them."""


class Cell(nn.RNNBase):
    """One recurrent layer over ``torch.nn``'s fast kernels.

    The weights are torch's: ``weight_ih_l0`` (G*H, I), ``weight_hh_l0`` (G*H, H) and two
    biases (G*H), where G is the number of blocks of H rows: gates and candidate.

    Attributes:
        states: names of the parts of the state, in order.
    """

    states: tuple[str, ...] = ("h",)
    weight_ih_l0: Tensor
    weight_hh_l0: Tensor
    bias_ih_l0: Tensor
    bias_hh_l0: Tensor

    def init_state(self, batch: int) -> State:
        """Return the state at the beginning of a text: zeros, (1, B, H) each."""
        zero = self.weight_hh_l0.new_zeros(1, batch, self.hidden_size)
        return tuple(zero.clone() for _ in self.states)

    def step(self, x: Tensor, state: State) -> State:
        """Return the state after one input x (B, I): the definition of the cell."""
        raise NotImplementedError

    def run(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the outputs (B, T, H) and the last state for inputs x (B, T, I)."""
        if len(state) == 1:
            y, h = self(x, state[0])
            return y, (h,)
        y, last = self(x, state)
        return y, last

    def reset(self, generator: torch.Generator) -> None:
        """Draw new weights: orthogonal recurrent blocks, Xavier inputs, zero biases."""
        hidden = self.hidden_size
        for row in range(0, self.weight_hh_l0.shape[0], hidden):
            nn.init.xavier_uniform_(self.weight_ih_l0[row : row + hidden], generator=generator)
            nn.init.orthogonal_(self.weight_hh_l0[row : row + hidden], generator=generator)
        nn.init.zeros_(self.bias_ih_l0)
        nn.init.zeros_(self.bias_hh_l0)

    def _products(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return W_I x + b (B, G*H) and W_R h + b (B, G*H)."""
        inputs = nn.functional.linear(x, self.weight_ih_l0, self.bias_ih_l0)
        recurrent = nn.functional.linear(h[0], self.weight_hh_l0, self.bias_hh_l0)
        return inputs, recurrent
