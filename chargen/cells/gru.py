"""The gated recurrent unit."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from chargen.cells.base import Cell, State


class GRU(nn.GRU, Cell):
    """Cho et al. (2014) in the form of cuDNN: the reset gate acts after the product.

    ::

        r_t = sigma(W_r x_t + R_r h_{t-1} + b_r)                       reset gate
        z_t = sigma(W_z x_t + R_z h_{t-1} + b_z)                       update gate
        n_t = tanh (W_n x_t + b_n + r_t * (R_n h_{t-1} + b_Rn))        candidate
        h_t = (1 - z_t) * n_t + z_t * h_{t-1}

    3H(I + H + 2) parameters, blocks in the order r, z, n. Here z = 1 keeps the memory, as in
    Cho et al.; Chung et al. (2014) swap the roles, so their z is 1 - z here.
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden, batch_first=True)

    def step(self, x: Tensor, state: State) -> State:
        """Return (h_t,) for x_t (B, I)."""
        inputs, recurrent = self._products(x, state[0])
        (xr, xz, xn), (hr, hz, hn) = inputs.chunk(3, dim=1), recurrent.chunk(3, dim=1)
        r, z = torch.sigmoid(xr + hr), torch.sigmoid(xz + hz)  # (B, H) each
        n = torch.tanh(xn + r * hn)
        return (((1 - z) * n + z * state[0][0])[None],)
