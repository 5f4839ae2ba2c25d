"""What holds for every cell, those of benchmarks too."""

from __future__ import annotations

import torch
from torch import Tensor

from chargen.model.cells import Cell, State


def has_numerical_gradients(cell: Cell, state: State) -> bool:
    """Tell whether the gradients of two texts of four steps are the numerical ones (float64)."""
    inputs = cell.weight_ih_l0.shape[1]
    x = torch.randn(2, 4, inputs, dtype=torch.float64, requires_grad=True)
    start = tuple(part.requires_grad_() for part in state)

    def outputs(x: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        y, last = cell.run(x, rest[: len(start)])  # gradcheck moves the cell's weights in place
        return y, *last

    return torch.autograd.gradcheck(outputs, (x, *start, *cell.parameters()))


def check_chunks(cell: Cell, x: Tensor, state: State, sizes: list[int], atol: float) -> None:
    """Check that chunks of x (B, T, I) which pass on the state equal one pass."""
    whole, last = cell.run(x, state)
    pieces = []
    for chunk in x.split(sizes, dim=1):
        y, state = cell.run(chunk, state)
        pieces.append(y)
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole, rtol=0, atol=atol)
    for part, expected in zip(state, last, strict=True):
        torch.testing.assert_close(part, expected, rtol=0, atol=atol)
