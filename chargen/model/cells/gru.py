"""The gated recurrent unit."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from chargen.model.cells.base import GatedCell, Gates, State, TorchCell, WrittenCell
from chargen.model.cells.bptt import GRUSteps
from chargen.model.cells.norm import NormGRUSteps, layer_norm


class GRU(nn.GRU, GatedCell, TorchCell):
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

    def gated_step(self, x: Tensor, state: State) -> tuple[State, Gates]:
        """Return (h_t,) and r_t, z_t for x_t (B, I)."""
        inputs, recurrent = self.products(x, state[0])
        (xr, xz, xn), (hr, hz, hn) = inputs.chunk(3, dim=1), recurrent.chunk(3, dim=1)
        r, z = torch.sigmoid(xr + hr), torch.sigmoid(xz + hz)  # (B, H) each
        n = torch.tanh(xn + r * hn)
        return (((1 - z) * n + z * state[0][0])[None],), {"reset": r, "update": z}


class BeforeGRU(GatedCell, WrittenCell):
    """Cho et al. (2014): the reset gate acts before the recurrent product.

    ::

        r_t = sigma(W_r x_t + R_r h_{t-1} + b_r)            reset gate
        z_t = sigma(W_z x_t + R_z h_{t-1} + b_z)            update gate
        n_t = tanh (W_n x_t + R_n (r_t * h_{t-1}) + b_n)    candidate
        h_t = (1 - z_t) * n_t + z_t * h_{t-1}

    3H(I + H + 1) parameters, blocks in the order r, z, n. As in ``GRU``, z = 1 keeps the
    memory, the role Cho et al. give it; in Chung et al. (2014) z = 1 replaces it, and their
    weights of z map onto these by a change of sign, since sigma(-a) = 1 - sigma(a).
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


class NormGRU(GatedCell, WrittenCell):
    """The GRU with layer normalisation (Ba, Kiros, Hinton 2016, supplementary material).

    ::

        u_t = LN(W_I x_t; gain_I, b_I),  v_t = LN(W_R h_{t-1}; gain_R, b_R)     (3H): r, z, n
        r_t = sigma(u_r + v_r)             reset gate
        z_t = sigma(u_z + v_z)             update gate
        n_t = tanh (u_n + r_t * v_n)       candidate
        h_t = (1 - z_t) * n_t + z_t * h_{t-1}
        LN(a; gain, b) = gain * (a - mean(a)) / sqrt(var(a) + 1e-5) + b

    Mean and variance are taken at each step and in each lane, over the 2H sums of the two
    gates together, and over the H of the candidate. 3H(I + H + 4) parameters, blocks in the
    order r, z, n; gains start at 1. As in ``GRU``, z = 1 keeps the memory.
    """

    kind = "gru-norm"

    def gated_step(self, x: Tensor, state: State) -> tuple[State, Gates]:
        """Return (h_t,) and r_t, z_t for x_t (B, I)."""
        (h,) = state[0]
        inputs = self._normed(x @ self.weight_ih_l0.T, self.gain_ih_l0, self.bias_ih_l0)
        recurrent = self._normed(h @ self.weight_hh_l0.T, self.gain_hh_l0, self.bias_hh_l0)
        (ur, uz, un), (vr, vz, vn) = inputs.chunk(3, dim=1), recurrent.chunk(3, dim=1)
        r, z = torch.sigmoid(ur + vr), torch.sigmoid(uz + vz)  # (B, H) each
        n = torch.tanh(un + r * vn)
        return (((1 - z) * n + z * h)[None],), {"reset": r, "update": z}

    def run(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the outputs (B, T, H) and the last state for inputs x (B, T, I)."""
        gates = self._normed(self.inputs(x), self.gain_ih_l0, self.bias_ih_l0)
        recurrent = (self.weight_hh_l0, self.gain_hh_l0, self.bias_hh_l0)
        h = NormGRUSteps.apply(gates, state[0][0], *recurrent)  # type: ignore[no-untyped-call]
        return h.transpose(0, 1), (h[-1:],)

    def _normed(self, a: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
        """Normalise the two gates together, and the candidate: (..., 3*H)."""
        two = 2 * self.hidden_size
        pair = layer_norm(a[..., :two], gain[:two], bias[:two])
        return torch.cat([pair, layer_norm(a[..., two:], gain[two:], bias[two:])], dim=-1)
