"""LSTM with a block-diagonal recurrence: heads that do not see each other's state."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.modern_cells.base import ModernCell
from chargen.model.cells import State


class HeadLSTM(ModernCell):
    """The LSTM in K = 4 heads: every R is block-diagonal, with K blocks of D = H / K units.

    ::

        i_t, f_t, g_t, o_t = those of the LSTM, with R h_{t-1} = [R^1 h^1_{t-1}, ..., R^K h^K_{t-1}]
        c_t = f_t * c_{t-1} + i_t * g_t
        h_t = o_t * tanh(c_t)

    4H(I + H/K + 1) parameters, blocks in the order i, f, g, o within each head. The heads are K
    separate LSTMs that read the same input, so that the fast form is K calls of torch's LSTM.
    """

    kind = "lstm-heads"
    parts = "hc"
    heads = 4

    def advance(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return h_t (B, H) and (h_t, c_t) for x_t (B, I)."""
        (h,), (c,) = state
        i, f, g, o = self.products(x, h)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        return h, (h[None], c[None])

    def run(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the outputs (B, T, H) and the last state for inputs x (B, T, I)."""
        weights = (self.weight_ih_l0, self.weight_hh_l0, self.bias_ih_l0)
        rows = zip(*(weight.chunk(self.heads) for weight in weights), strict=True)
        states = zip(*(part.chunk(self.heads, dim=2) for part in state), strict=True)
        results = [self._head(x, *pair) for pair in zip(rows, states, strict=True)]
        y, h, c = (torch.cat(parts, dim=2) for parts in zip(*results, strict=True))
        return y, (h, c)

    def _head(
        self, x: Tensor, weights: tuple[Tensor, ...], state: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the outputs (B, T, D) and the last h and c (1, B, D) of one head."""
        start = [part.contiguous() for part in state]
        flat = [*weights, torch.zeros_like(weights[2])]
        return torch.lstm(x, start, flat, True, 1, 0.0, self.training, False, True)
