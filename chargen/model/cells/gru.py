"""Gated recurrent units (GRU)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from chargen.model.cells.base import GatedCell, Gates, State, TorchCell, WrittenCell
from chargen.model.cells.bptt import GRUSteps


class GRU(nn.GRU, GatedCell, TorchCell):
    """The GRU of Cho et al. (2014) in the form of cuDNN: the reset gate acts after the product.

    ::

        r_t = sigma(W_r x_t + R_r h_{t-1} + b_r)                       reset gate
        z_t = sigma(W_z x_t + R_z h_{t-1} + b_z)                       update gate
        n_t = tanh (W_n x_t + b_n + r_t * (R_n h_{t-1} + b_Rn))        candidate
        h_t = (1 - z_t) * n_t + z_t * h_{t-1}

    3H(I + H + 2) parameters, blocks in the order r, z, n. Here z = 1 keeps the old state, as in
    Cho et al.; Chung et al. (2014) swap the roles, so their z is 1 - z here.
    """

    kind = "gru"

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden, batch_first=True)

    def gated_step(self, x: Tensor, state: State) -> tuple[State, Gates]:
        """Return (h_t,) and r_t, z_t for x_t (B, I)."""
        inputs, recurrent = self.products(x, state[0])
        (xr, xz, xn), (hr, hz, hn) = inputs.chunk(3, dim=1), recurrent.chunk(3, dim=1)
        r, z = torch.sigmoid(xr + hr), torch.sigmoid(xz + hz)  # (B, H) each
        n = torch.tanh(xn + r * hn)
        return (((1 - z) * n + z * state[0][0])[None],), {"reset": r, "update": z}


class BeforeGRU(GatedCell, WrittenCell):
    """The GRU of Cho et al. (2014): the reset gate acts before the recurrent product.

    ::

        r_t = sigma(W_r x_t + R_r h_{t-1} + b_r)            reset gate
        z_t = sigma(W_z x_t + R_z h_{t-1} + b_z)            update gate
        n_t = tanh (W_n x_t + R_n (r_t * h_{t-1}) + b_n)    candidate
        h_t = (1 - z_t) * n_t + z_t * h_{t-1}

    3H(I + H + 1) parameters, blocks in the order r, z, n. As in ``GRU``, z = 1 keeps the old
    state. In Chung et al. (2014) z = 1 replaces it; their weights of z are these with the sign
    changed, since sigma(-a) = 1 - sigma(a).
    """

    kind = "gru-before"

    def gated_step(self, x: Tensor, state: State) -> tuple[State, Gates]:
        """Return (h_t,) and r_t, z_t for x_t (B, I)."""
        (h,) = state[0]
        a = x @ self.weight_ih_l0.T + self.bias_ih_l0  # (B, 3*H)
        (ar, az, an), (rr, rz, rn) = a.chunk(3, dim=1), self.weight_hh_l0.chunk(3)
        r, z = torch.sigmoid(ar + h @ rr.T), torch.sigmoid(az + h @ rz.T)  # (B, H) each
        n = torch.tanh(an + (r * h) @ rn.T)
        return (((1 - z) * n + z * h)[None],), {"reset": r, "update": z}

    def run(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the outputs (B, T, H) and the last state for inputs x (B, T, I)."""
        weights = (self.weight_ih_l0, self.weight_hh_l0, self.bias_ih_l0)
        h = GRUSteps.apply(x.transpose(0, 1), state[0][0], *weights)  # type: ignore[no-untyped-call]
        return h.transpose(0, 1), (h[-1:],)
