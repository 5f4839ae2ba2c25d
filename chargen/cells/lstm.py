"""Long short-term memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from chargen.cells.base import Cell, State


class LSTM(nn.LSTM, Cell):
    """Hochreiter and Schmidhuber (1997), with the forget gate of Gers et al. (2000).

    ::

        i_t = sigma(W_i x_t + R_i h_{t-1} + b_i)     input gate
        f_t = sigma(W_f x_t + R_f h_{t-1} + b_f)     forget gate
        g_t = tanh (W_g x_t + R_g h_{t-1} + b_g)     candidate
        o_t = sigma(W_o x_t + R_o h_{t-1} + b_o)     output gate
        c_t = f_t * c_{t-1} + i_t * g_t
        h_t = o_t * tanh(c_t)

    4H(I + H + 2) parameters, blocks in the order i, f, g, o. The forget gate's bias starts
    at 1 (Jozefowicz et al. 2015), so that memory lasts from the first step of training on.
    """

    states = ("h", "c")

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden, batch_first=True)

    def step(self, x: Tensor, state: State) -> State:
        """Return (h_t, c_t) for x_t (B, I)."""
        inputs, recurrent = self._products(x, state[0])
        i, f, g, o = (inputs + recurrent).chunk(4, dim=1)  # (B, H) each
        c = torch.sigmoid(f) * state[1][0] + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        return h[None], c[None]

    def reset(self, generator: torch.Generator) -> None:
        """Draw new weights, and open the forget gate."""
        super().reset(generator)
        nn.init.ones_(self.bias_ih_l0[self.hidden_size : 2 * self.hidden_size])
