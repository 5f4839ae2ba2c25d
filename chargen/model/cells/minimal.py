"""Gated units whose gates see the input alone, and so can be trained on all steps at once."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import linear, logsigmoid

from chargen.model.cells.base import GatedCell, Gates, State, WrittenCell
from chargen.model.cells.scan import Mixture


class Minimal(GatedCell, WrittenCell):
    """What minGRU and minLSTM share: h_t = k_t * h_{t-1} + (1 - k_t) * g_t."""

    def odds(self, *gates: Tensor) -> Tensor:
        """Return ln(k / (1 - k)) for the share k that is kept, from the gates' W x + b."""
        raise NotImplementedError

    def gated_step(self, x: Tensor, state: State) -> tuple[State, Gates]:
        """Return (h_t,) and the share k_t that is kept for x_t (B, I)."""
        products = x @ self.weight_ih_l0.T + self.bias_ih_l0
        *gates, g = products.view(len(x), -1, self.hidden_size).unbind(1)  # (B, H) each
        k = torch.sigmoid(self.odds(*gates))
        return ((k * state[0] + (1 - k) * g),), {"kept": k}

    def run(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the outputs (B, T, H) and the last state for inputs x (B, T, I)."""
        weights = self.weight_ih_l0.view(-1, self.hidden_size, x.shape[2])
        biases = self.bias_ih_l0.view(-1, self.hidden_size)
        x = x.transpose(0, 1)
        *gates, g = (linear(x, w, b).to(w.dtype) for w, b in zip(weights, biases, strict=True))
        h = Mixture.apply(self.odds(*gates), g, state[0][0])  # type: ignore[no-untyped-call]
        return h.transpose(0, 1), (h[-1:],)


class MinGRU(Minimal):
    """Feng et al. (2024), minGRU: a GRU without the reset gate, its gate blind to the state.

    ::

        z_t = sigma(W_z x_t + b_z)                update gate
        g_t = W_g x_t + b_g                       candidate
        h_t = (1 - z_t) * h_{t-1} + z_t * g_t

    2H(I + 1) parameters, blocks in the order z, g. As in their paper z = 1 replaces the
    memory, the role it has in Chung et al. (2014). All steps are one scan (``cells/scan.py``);
    their form in logarithms wants a positive candidate, this one takes any.
    """

    kind = "mingru"

    def odds(self, *gates: Tensor) -> Tensor:
        """Return those of 1 - z."""
        return -gates[0]


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

    def odds(self, *gates: Tensor) -> Tensor:
        """Return those of f / (f + i)."""
        f, i = gates
        return logsigmoid(f) - logsigmoid(i)
