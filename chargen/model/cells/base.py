"""Interface of the cells: initialization, one step, and all steps at once."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from chargen.config import TrainConfig
from chargen.model.spec import CELLS, SPECS

State = tuple[Tensor, ...]
"""The recurrent state of a layer: tensors of shape (1, B, H), as in torch.nn and ONNX."""

Gates = dict[str, Tensor]
"""The gates of one step by name, each (B, H) with values between 0 and 1."""


class Cell(nn.Module):
    """One recurrent layer.

    The weights have the names and the order of torch.nn: ``weight_ih_l0`` (G*H, I),
    ``weight_hh_l0`` (G*H, H) and ``bias_ih_l0`` (G*H). G is the number of blocks of H rows, one for
    each gate and one for the candidate. The layers of torch.nn have a second bias, ``bias_hh_l0``;
    the minimal cells have no ``weight_hh_l0``. ``spec.CELLS`` lists the weights and states of
    every cell.

    Attributes:
        kind: name of the cell in ``spec.CELLS``.
        forget: index of the block of the forget gate, if there is one.
        recurrent_init: initialization of the recurrent weights if the recipe says ``auto``.
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
        """One letter for each part of the state, in order."""
        return SPECS[self.kind].states

    def init_state(self, batch: int) -> State:
        """Return the initial state: zeros, (1, B, H) for each part."""
        zero = self.weight_ih_l0.new_zeros(1, batch, self.hidden_size)
        return tuple(zero.clone() for _ in self.states)

    def step(self, x: Tensor, state: State) -> State:
        """Return the state after one input x (B, I): the definition of the cell."""
        raise NotImplementedError

    def run(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the outputs (B, T, H) and the last state for inputs x (B, T, I)."""
        raise NotImplementedError

    def reset(self, generator: torch.Generator, start: TrainConfig) -> None:
        """Initialize the weights as the recipe says, each block of H rows separately.

        Biases start at zero and gains at one. The bias of the forget gate starts at the value of
        the recipe, by default 1 (Jozefowicz et al. 2015), so that memory lasts from the first
        training step.
        """
        recurrent = start.recurrent_init
        recurrent = self.recurrent_init if recurrent == "auto" else recurrent
        for name, weight in self.named_parameters():
            nn.init.constant_(weight, float(name.startswith("gain")))
            if name == "weight_ih_l0":
                _init_blocks(start.input_init, weight, self.hidden_size, generator)
            if name == "weight_hh_l0":
                _init_blocks(recurrent, weight, self.hidden_size, generator)
                weight.mul_(start.recurrent_scale)
        if self.forget is not None:
            blocks = self.bias_ih_l0.view(-1, self.hidden_size)
            nn.init.constant_(blocks[self.forget], start.forget_bias)


def _init_blocks(init: str, weight: Tensor, hidden: int, generator: torch.Generator) -> None:
    for block in weight.view(-1, hidden, weight.shape[1]):
        match init:
            case "orthogonal":
                nn.init.orthogonal_(block, generator=generator)
            case "xavier":
                nn.init.xavier_uniform_(block, generator=generator)
            case _:
                nn.init.eye_(block)


class GatedCell(Cell):
    """A cell with gates; its step form also returns them."""

    def gated_step(self, x: Tensor, state: State) -> tuple[State, Gates]:
        """Return the state after one input x (B, I) and the gates: the definition of the cell."""
        raise NotImplementedError

    def step(self, x: Tensor, state: State) -> State:
        """Return the state after one input x (B, I)."""
        return self.gated_step(x, state)[0]


class TorchCell(Cell):
    """A cell of torch.nn; its ``forward`` is the fast form."""

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
    """A cell that torch.nn lacks; its fast form is in ``bptt``, ``norm`` or ``scan``.

    Args:
        inputs: size of the input (I).
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
        """Return W_I x for all steps in one product, time first, (T, B, G*H)."""
        products = nn.functional.linear(x.transpose(0, 1), self.weight_ih_l0)
        return products.to(self.weight_ih_l0.dtype)
