"""Minimal gated cells: the gates read only the input, so that all steps can run in parallel."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import linear, logsigmoid

from chargen.model.cells.base import GatedCell, Gates, State, WrittenCell
from chargen.model.cells.scan import Mixture


class Minimal(GatedCell, WrittenCell):
    """Base of minGRU and minLSTM: h_t = k_t * h_{t-1} + (1 - k_t) * g_t, with the retention k_t."""

    def gate_logit(self, *gates: Tensor) -> Tensor:
        """Return the logit ln(k / (1 - k)) of the retention k from W x + b of the gates."""
        raise NotImplementedError

    def gated_step(self, x: Tensor, state: State) -> tuple[State, Gates]:
        """Return (h_t,) and the retention k_t for x_t (B, I)."""
        products = x @ self.weight_ih_l0.T + self.bias_ih_l0
        *gates, g = products.view(len(x), -1, self.hidden_size).unbind(1)  # (B, H) each
        k = torch.sigmoid(self.gate_logit(*gates))
        return ((k * state[0] + (1 - k) * g),), {"retention": k}

    def run(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the outputs (B, T, H) and the last state for inputs x (B, T, I)."""
        weights = self.weight_ih_l0.view(-1, self.hidden_size, x.shape[2])
        biases = self.bias_ih_l0.view(-1, self.hidden_size)
        x = x.transpose(0, 1)
        *gates, g = (linear(x, w, b).to(w.dtype) for w, b in zip(weights, biases, strict=True))
        h = Mixture.apply(self.gate_logit(*gates), g, state[0][0])  # type: ignore[no-untyped-call]
        return h.transpose(0, 1), (h[-1:],)


class MinGRU(Minimal):
    """minGRU (Feng et al. 2024): no reset gate, and an update gate that reads only the input.

    ::

        z_t = sigma(W_z x_t + b_z)                update gate
        g_t = W_g x_t + b_g                       candidate
        h_t = (1 - z_t) * h_{t-1} + z_t * g_t

    2H(I + 1) parameters, blocks in the order z, g. As in the paper, and in Chung et al. (2014),
    z = 1 replaces the old state. All steps are one scan (``cells/scan.py``). The paper's scan in
    logarithms needs a positive candidate; this one takes any.
    """

    kind = "mingru"

    def gate_logit(self, *gates: Tensor) -> Tensor:
        """Return the logit of 1 - z."""
        return -gates[0]


class MinLSTM(Minimal):
    """minLSTM (Feng et al. 2024): gates that read only the input, scaled to sum to 1.

    ::

        f_t = sigma(W_f x_t + b_f)                forget gate
        i_t = sigma(W_i x_t + b_i)                input gate
        g_t = W_g x_t + b_g                       candidate
        h_t = f_t / (f_t + i_t) * h_{t-1} + i_t / (f_t + i_t) * g_t

    3H(I + 1) parameters, blocks in the order f, i, g. The retention f / (f + i) is computed as
    sigma(ln f - ln i), which is equal and never 0 / 0. All steps are one scan.
    """

    kind = "minlstm"
    forget = 0

    def gate_logit(self, *gates: Tensor) -> Tensor:
        """Return the logit of f / (f + i)."""
        f, i = gates
        return logsigmoid(f) - logsigmoid(i)
