"""Gated units whose gates see the input alone, and so can be trained on all steps at once."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from chargen.cells.base import State, WrittenCell
from chargen.cells.scan import LinearRecurrence


class Minimal(WrittenCell):
    """What minGRU and minLSTM share: h_t = k_t * h_{t-1} + (1 - k_t) * g_t."""

    def kept(self, gates: Tensor) -> tuple[Tensor, Tensor]:
        """Return the share k that is kept and the candidate g, from W x + b (..., G*H)."""
        raise NotImplementedError

    def step(self, x: Tensor, state: State) -> State:
        """Return (h_t,) for x_t (B, I)."""
        k, g = self.kept(x @ self.weight_ih_l0.T + self.bias_ih_l0)
        return ((k * state[0] + (1 - k) * g),)

    def run(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the outputs (B, T, H) and the last state for inputs x (B, T, I)."""
        k, g = self.kept(self.inputs(x, self.bias_ih_l0))  # (T, B, H) each
        h = LinearRecurrence.apply(k, torch.addcmul(g, k, g, value=-1), state[0][0])  # type: ignore[no-untyped-call]
        return h.transpose(0, 1), (h[-1:],)


class MinGRU(Minimal):
    """Feng et al. (2024), minGRU: a GRU without the reset gate, its gate blind to the state.

    ::

        z_t = sigma(W_z x_t + b_z)                update gate
        g_t = W_g x_t + b_g                       candidate
        h_t = (1 - z_t) * h_{t-1} + z_t * g_t

    2H(I + 1) parameters, blocks in the order z, g. As in their paper z = 1 replaces the
    memory, the role it has in Chung et al. (2014). All steps are one scan (``cells/scan.py``).
    """

    kind = "mingru"

    def kept(self, gates: Tensor) -> tuple[Tensor, Tensor]:
        """Return 1 - z and g."""
        z, g = gates.chunk(2, dim=-1)
        return torch.sigmoid(-z), g


class MinLSTM(Minimal):
    """Feng et al. (2024), minLSTM: gates blind to the state, scaled to add up to one.

    ::

        f_t = sigma(W_f x_t + b_f)                forget gate
        i_t = sigma(W_i x_t + b_i)                input gate
        g_t = W_g x_t + b_g                       candidate
        h_t = f_t / (f_t + i_t) * h_{t-1} + i_t / (f_t + i_t) * g_t

    3H(I + 1) parameters, blocks in the order f, i, g. The share f / (f + i) is computed as
    sigma(ln f - ln i), which is the same and never 0 / 0. All steps are one scan.
    """

    kind = "minlstm"
    forget = 0

    def kept(self, gates: Tensor) -> tuple[Tensor, Tensor]:
        """Return f / (f + i) and g."""
        f, i, g = gates.chunk(3, dim=-1)
        return torch.sigmoid(logsigmoid(f) - logsigmoid(i)), g
