"""Long short-term memory (LSTM) and its variants."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from chargen.model.cells.base import GatedCell, Gates, State, TorchCell, WrittenCell
from chargen.model.cells.bptt import PeepholeSteps
from chargen.model.cells.norm import NormLSTMSteps, layer_norm


class LSTM(nn.LSTM, GatedCell, TorchCell):
    """The LSTM of Hochreiter and Schmidhuber (1997) with the forget gate of Gers et al. (2000).

    ::

        i_t = sigma(W_i x_t + R_i h_{t-1} + b_i)     input gate
        f_t = sigma(W_f x_t + R_f h_{t-1} + b_f)     forget gate
        g_t = tanh (W_g x_t + R_g h_{t-1} + b_g)     candidate
        o_t = sigma(W_o x_t + R_o h_{t-1} + b_o)     output gate
        c_t = f_t * c_{t-1} + i_t * g_t
        h_t = o_t * tanh(c_t)

    4H(I + H + 2) parameters, blocks in the order i, f, g, o. The bias of the forget gate starts
    at 1 (Jozefowicz et al. 2015), so that memory lasts from the first training step.
    """

    kind = "lstm"

    forget = 1

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden, batch_first=True)

    def gated_step(self, x: Tensor, state: State) -> tuple[State, Gates]:
        """Return (h_t, c_t) and i_t, f_t, o_t for x_t (B, I)."""
        inputs, recurrent = self.products(x, state[0])
        i, f, g, o = (inputs + recurrent).chunk(4, dim=1)  # (B, H) each
        i, f, o = torch.sigmoid(i), torch.sigmoid(f), torch.sigmoid(o)
        c = f * state[1][0] + i * torch.tanh(g)
        h = o * torch.tanh(c)
        return (h[None], c[None]), {"input": i, "forget": f, "output": o}


class PeepholeLSTM(GatedCell, WrittenCell):
    """The LSTM with peepholes (Gers and Schmidhuber 2000): the gates also read the memory.

    ::

        i_t = sigma(W_i x_t + R_i h_{t-1} + p_i * c_{t-1} + b_i)     input gate
        f_t = sigma(W_f x_t + R_f h_{t-1} + p_f * c_{t-1} + b_f)     forget gate
        g_t = tanh (W_g x_t + R_g h_{t-1} + b_g)                     candidate
        c_t = f_t * c_{t-1} + i_t * g_t
        o_t = sigma(W_o x_t + R_o h_{t-1} + p_o * c_t + b_o)         output gate: reads the new c
        h_t = o_t * tanh(c_t)

    4H(I + H + 1) + 3H parameters, blocks in the order i, f, g, o. ``peephole`` (3, H) holds
    p_i, p_f, p_o and starts at zero; the bias of the forget gate starts at 1.
    """

    kind = "lstm-peephole"
    forget = 1
    peephole: Tensor

    def gated_step(self, x: Tensor, state: State) -> tuple[State, Gates]:
        """Return (h_t, c_t) and i_t, f_t, o_t for x_t (B, I)."""
        (h,), (c,) = state
        a = x @ self.weight_ih_l0.T + self.bias_ih_l0 + h @ self.weight_hh_l0.T
        i, f, g, o = a.chunk(4, dim=1)  # (B, H) each
        i = torch.sigmoid(i + self.peephole[0] * c)
        f = torch.sigmoid(f + self.peephole[1] * c)
        c = f * c + i * torch.tanh(g)
        o = torch.sigmoid(o + self.peephole[2] * c)
        return ((o * torch.tanh(c))[None], c[None]), {"input": i, "forget": f, "output": o}

    def run(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the outputs (B, T, H) and the last state for inputs x (B, T, I)."""
        weights = (self.weight_ih_l0, self.weight_hh_l0, self.bias_ih_l0, self.peephole)
        h, c = PeepholeSteps.apply(x.transpose(0, 1), state[0][0], state[1][0], *weights)  # type: ignore[no-untyped-call]
        return h.transpose(0, 1), (h[-1:], c[None])


class CoupledLSTM(GatedCell, WrittenCell):
    """The LSTM with coupled gates, CIFG in Greff et al. (2017): the input gate is 1 - f.

    ::

        f_t = sigma(W_f x_t + R_f h_{t-1} + b_f)     forget gate
        g_t = tanh (W_g x_t + R_g h_{t-1} + b_g)     candidate
        o_t = sigma(W_o x_t + R_o h_{t-1} + b_o)     output gate
        c_t = f_t * c_{t-1} + (1 - f_t) * g_t
        h_t = o_t * tanh(c_t)

    3H(I + H + 1) parameters, blocks in the order f, g, o. The bias of the forget gate starts
    at 1. The fast form is the LSTM of torch.nn with the input gate
    i = 1 - f = sigma(-(W_f x_t + R_f h_{t-1} + b_f)). This fourth block, the first with its sign
    changed, takes less time than a hand-written loop.
    """

    kind = "lstm-coupled"
    forget = 0

    def gated_step(self, x: Tensor, state: State) -> tuple[State, Gates]:
        """Return (h_t, c_t) and f_t, o_t for x_t (B, I)."""
        (h,), (c,) = state
        a = x @ self.weight_ih_l0.T + self.bias_ih_l0 + h @ self.weight_hh_l0.T
        f, g, o = a.chunk(3, dim=1)  # (B, H) each
        f, o = torch.sigmoid(f), torch.sigmoid(o)
        c = f * c + (1 - f) * torch.tanh(g)
        return ((o * torch.tanh(c))[None], c[None]), {"forget": f, "output": o}

    def run(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the outputs (B, T, H) and the last state for inputs x (B, T, I)."""
        w, r, b = (
            torch.cat([-weight[: self.hidden_size], weight])
            for weight in (self.weight_ih_l0, self.weight_hh_l0, self.bias_ih_l0)
        )
        weights = [w, r, b, torch.zeros_like(b)]
        y, h, c = torch.lstm(x, state, weights, True, 1, 0.0, self.training, False, True)
        return y, (h, c)


class NormLSTM(GatedCell, WrittenCell):
    """The LSTM with layer normalization (Ba, Kiros, Hinton 2016, supplementary material).

    ::

        a_t = LN(W_I x_t; gain_I, b_I) + LN(W_R h_{t-1}; gain_R, b_R)     (4H): i, f, g, o
        c_t = sigma(f_t) * c_{t-1} + sigma(i_t) * tanh(g_t)
        h_t = sigma(o_t) * tanh(LN(c_t; gain_c, b_c))
        LN(a; gain, b) = gain * (a - mean(a)) / sqrt(var(a) + 1e-5) + b

    Mean and variance are taken over all 4H sums, and over the H units of c, at each step and
    in each row of the batch. 4H(I + H + 4) + 2H parameters, blocks in the order i, f, g, o. The
    gains and the bias of the forget gate start at 1.
    """

    kind = "lstm-norm"
    forget = 1
    gain_c: Tensor
    bias_c: Tensor

    def gated_step(self, x: Tensor, state: State) -> tuple[State, Gates]:
        """Return (h_t, c_t) and i_t, f_t, o_t for x_t (B, I)."""
        (h,), (c,) = state
        inputs = layer_norm(x @ self.weight_ih_l0.T, self.gain_ih_l0, self.bias_ih_l0)
        recurrent = layer_norm(h @ self.weight_hh_l0.T, self.gain_hh_l0, self.bias_hh_l0)
        i, f, g, o = (inputs + recurrent).chunk(4, dim=1)  # (B, H) each
        i, f, o = torch.sigmoid(i), torch.sigmoid(f), torch.sigmoid(o)
        c = f * c + i * torch.tanh(g)
        h = o * torch.tanh(layer_norm(c, self.gain_c, self.bias_c))
        return (h[None], c[None]), {"input": i, "forget": f, "output": o}

    def run(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the outputs (B, T, H) and the last state for inputs x (B, T, I)."""
        gates = layer_norm(self.inputs(x), self.gain_ih_l0, self.bias_ih_l0)
        recurrent = (self.weight_hh_l0, self.gain_hh_l0, self.bias_hh_l0)
        memory = (self.gain_c, self.bias_c)
        h, c = NormLSTMSteps.apply(gates, state[0][0], state[1][0], *recurrent, *memory)  # type: ignore[no-untyped-call]
        return h.transpose(0, 1), (h[-1:], c[None])
