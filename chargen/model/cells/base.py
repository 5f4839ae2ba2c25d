"""What every cell offers: a start, one step, and all steps at once."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from chargen.config import TrainConfig
from chargen.model.spec import CELLS

State = tuple[Tensor, ...]
"""A layer's recurrent state: tensors of shape (1, B, H), as torch.nn and ONNX have them."""

Gates = dict[str, Tensor]
"""The gates of one step by name, each (B, H), between 0 and 1."""


class Cell(nn.Module):
    """One recurrent layer.

    The weights have torch.nn's names and order: ``weight_ih_l0`` (G*H, I), ``weight_hh_l0``
    (G*H, H) and ``bias_ih_l0`` (G*H), where G is the number of blocks of H rows: gates and
    candidate. torch.nn's own layers have a second bias, ``bias_hh_l0``, and the minimal cells
    no ``weight_hh_l0``; ``spec.CELLS`` lists the weights and states of every cell.

    Attributes:
        kind: its name in ``spec.CELLS``.
        forget: which block of rows is the forget gate, if there is one.
        recurrent_init: how the recurrent weights start when the recipe says ``auto``.
    """

    kind: ClassVar[str]
    forget: ClassVar[int | None] = None
    recurrent_init: ClassVar[str] = "orthogonal"
    hidden_size: int
    weight_ih_l0: Tensor
    weight_hh_l0: Tensor
    bias_ih_l0: Tensor

    @property
    def states(self) -> str:
        """A letter for each part of the state, in order."""
        return CELLS[self.kind].states

    def init_state(self, batch: int) -> State:
        """Return the state at the beginning of a text: zeros, (1, B, H) each."""
        zero = self.weight_ih_l0.new_zeros(1, batch, self.hidden_size)
        return tuple(zero.clone() for _ in self.states)

    def step(self, x: Tensor, state: State) -> State:
        """Return the state after one input x (B, I): the definition of the cell."""
        raise NotImplementedError

    def run(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the outputs (B, T, H) and the last state for inputs x (B, T, I)."""
        raise NotImplementedError

    def reset(self, generator: torch.Generator, start: TrainConfig) -> None:
        """Draw new weights as the recipe says: every block of H rows apart, biases zero.

        Gains start at one, and the forget gate's bias at the recipe's value, by default 1
        (Jozefowicz et al. 2015), so that memory lasts from the first step of training on.
        """
        recurrent = start.recurrent_init
        recurrent = self.recurrent_init if recurrent == "auto" else recurrent
        for name, weight in self.named_parameters():
            nn.init.constant_(weight, float(name.startswith("gain")))
            if name == "weight_ih_l0":
                _draw(start.input_init, weight, self.hidden_size, generator)
            if name == "weight_hh_l0":
                _draw(recurrent, weight, self.hidden_size, generator)
                weight.mul_(start.recurrent_scale)
        if self.forget is not None:
            blocks = self.bias_ih_l0.view(-1, self.hidden_size)
            nn.init.constant_(blocks[self.forget], start.forget_bias)


def _draw(init: str, weight: Tensor, hidden: int, generator: torch.Generator) -> None:
    for block in weight.view(-1, hidden, weight.shape[1]):
        match init:
            case "orthogonal":
                nn.init.orthogonal_(block, generator=generator)
            case "xavier":
                nn.init.xavier_uniform_(block, generator=generator)
            case _:
                nn.init.eye_(block)


class GatedCell(Cell):
    """A cell with gates: its definition gives them beside the state."""

    def gated_step(self, x: Tensor, state: State) -> tuple[State, Gates]:
        """Return the state after one input x (B, I), and the gates: the definition of the cell."""
        raise NotImplementedError

    def step(self, x: Tensor, state: State) -> State:
        """Return the state after one input x (B, I)."""
        return self.gated_step(x, state)[0]


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
    """A cell that torch.nn lacks: its fast form is written in ``bptt``, ``norm`` or ``scan``.

    Args:
        inputs: width of the input (I).
        hidden: number of hidden units (H).
    """

    bias_hh_l0: Tensor
    gain_ih_l0: Tensor
    gain_hh_l0: Tensor

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.hidden_size = hidden
        for name, shape in CELLS[self.kind].shapes(inputs, hidden).items():
            self.register_parameter(name, nn.Parameter(torch.zeros(shape)))

    def inputs(self, x: Tensor) -> Tensor:
        """Return W_I x for all steps in one product, time first: (T, B, G*H)."""
        products = nn.functional.linear(x.transpose(0, 1), self.weight_ih_l0)
        return products.to(self.weight_ih_l0.dtype)
