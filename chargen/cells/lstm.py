"""Long short-term memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from chargen.cells.base import State, TorchCell, WrittenCell
from chargen.cells.bptt import LSTMSteps


class LSTM(nn.LSTM, TorchCell):
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
        inputs, recurrent = self.products(x, state[0])
        i, f, g, o = (inputs + recurrent).chunk(4, dim=1)  # (B, H) each
        c = torch.sigmoid(f) * state[1][0] + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        return h[None], c[None]

    def reset(self, generator: torch.Generator) -> None:
        """Draw new weights, and open the forget gate."""
        super().reset(generator)
        nn.init.ones_(self.bias_ih_l0[self.hidden_size : 2 * self.hidden_size])


class PeepholeLSTM(WrittenCell):
    """Gers and Schmidhuber (2000): the gates also see the memory, each unit its own.

    ::

        i_t = sigma(W_i x_t + R_i h_{t-1} + p_i * c_{t-1} + b_i)     input gate
        f_t = sigma(W_f x_t + R_f h_{t-1} + p_f * c_{t-1} + b_f)     forget gate
        g_t = tanh (W_g x_t + R_g h_{t-1} + b_g)                     candidate
        c_t = f_t * c_{t-1} + i_t * g_t
        o_t = sigma(W_o x_t + R_o h_{t-1} + p_o * c_t + b_o)         output gate: sees the new c
        h_t = o_t * tanh(c_t)

    4H(I + H + 1) + 3H parameters, blocks in the order i, f, g, o; ``peephole`` (3, H) holds
    p_i, p_f, p_o and starts at zero, the forget gate's bias at 1.
    """

    states = ("h", "c")
    blocks = 4

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden)
        self.peephole = nn.Parameter(torch.zeros(3, hidden))

    def step(self, x: Tensor, state: State) -> State:
        """Return (h_t, c_t) for x_t (B, I)."""
        (h,), (c,) = state
        a = x @ self.weight_ih_l0.T + self.bias_ih_l0 + h @ self.weight_hh_l0.T
        i, f, g, o = a.chunk(4, dim=1)  # (B, H) each
        i = torch.sigmoid(i + self.peephole[0] * c)
        f = torch.sigmoid(f + self.peephole[1] * c)
        c = f * c + i * torch.tanh(g)
        o = torch.sigmoid(o + self.peephole[2] * c)
        return (o * torch.tanh(c))[None], c[None]

    def run(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the outputs (B, T, H) and the last state for inputs x (B, T, I)."""
        return _run_written(self, x, state, self.peephole)

    def reset(self, generator: torch.Generator) -> None:
        """Draw new weights, and open the forget gate."""
        super().reset(generator)
        nn.init.ones_(self.bias_ih_l0[self.hidden_size : 2 * self.hidden_size])


class CoupledLSTM(WrittenCell):
    """One gate forgets and lets in: what leaves the memory makes room for what enters.

    ::

        f_t = sigma(W_f x_t + R_f h_{t-1} + b_f)     forget gate
        g_t = tanh (W_g x_t + R_g h_{t-1} + b_g)     candidate
        o_t = sigma(W_o x_t + R_o h_{t-1} + b_o)     output gate
        c_t = f_t * c_{t-1} + (1 - f_t) * g_t
        h_t = o_t * tanh(c_t)

    3H(I + H + 1) parameters, blocks in the order f, g, o (Greff et al. 2017 call it CIFG).
    The forget gate's bias starts at 1.
    """

    states = ("h", "c")
    blocks = 3

    def step(self, x: Tensor, state: State) -> State:
        """Return (h_t, c_t) for x_t (B, I)."""
        (h,), (c,) = state
        a = x @ self.weight_ih_l0.T + self.bias_ih_l0 + h @ self.weight_hh_l0.T
        f, g, o = a.chunk(3, dim=1)  # (B, H) each
        c = torch.sigmoid(f) * c + (1 - torch.sigmoid(f)) * torch.tanh(g)
        return (torch.sigmoid(o) * torch.tanh(c))[None], c[None]

    def run(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the outputs (B, T, H) and the last state for inputs x (B, T, I)."""
        return _run_written(self, x, state, None)

    def reset(self, generator: torch.Generator) -> None:
        """Draw new weights, and open the forget gate."""
        super().reset(generator)
        nn.init.ones_(self.bias_ih_l0[: self.hidden_size])


def _run_written(
    cell: WrittenCell, x: Tensor, state: State, peephole: Tensor | None
) -> tuple[Tensor, State]:
    weight = cell.weight_hh_l0
    h, c = LSTMSteps.apply(cell.inputs(x), state[0][0], state[1][0], weight, peephole)  # type: ignore[no-untyped-call]
    return h.transpose(0, 1), (h[-1:], c[None])
