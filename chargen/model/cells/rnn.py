"""The Elman recurrent neuron."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from chargen.model.cells.base import State, TorchCell, WrittenCell
from chargen.model.cells.norm import NormRNNSteps, layer_norm


class RNN(nn.RNN, TorchCell):
    """The simple recurrent layer of Elman (1990).

    ::

        h_t = tanh(W_I x_t + W_R h_{t-1} + b)

    H(I + H + 2) parameters. The gradient that reaches k steps back is a product of k factors
    W_R^T diag(1 - h^2), so it vanishes or explodes with k.
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden, batch_first=True)

    def step(self, x: Tensor, state: State) -> State:
        """Return (h_t,) for x_t (B, I)."""
        inputs, recurrent = self.products(x, state[0])
        return (torch.tanh(inputs + recurrent)[None],)


class ReluRNN(nn.RNN, TorchCell):
    """The simple recurrent layer with rectified units (Le, Jaitly, Hinton 2015).

    ::

        h_t = max(0, W_I x_t + W_R h_{t-1} + b)

    H(I + H + 2) parameters. W_R starts as the identity, so that at first the state is kept
    and the gradient neither vanishes nor explodes.
    """

    recurrent_init = "identity"

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden, nonlinearity="relu", batch_first=True)

    def step(self, x: Tensor, state: State) -> State:
        """Return (h_t,) for x_t (B, I)."""
        inputs, recurrent = self.products(x, state[0])
        return (torch.relu(inputs + recurrent)[None],)


class NormRNN(WrittenCell):
    """The simple recurrent layer with layer normalisation (Ba, Kiros, Hinton 2016, equation 4).

    ::

        h_t = tanh(LN(W_I x_t + W_R h_{t-1}; gain, b))
        LN(a; gain, b) = gain * (a - mean(a)) / sqrt(var(a) + 1e-5) + b

    Mean and variance are taken over the units of the layer, at each step and in each lane.
    H(I + H + 2) parameters; the gain starts at 1.
    """

    kind = "rnn-norm"

    def step(self, x: Tensor, state: State) -> State:
        """Return (h_t,) for x_t (B, I)."""
        a = x @ self.weight_ih_l0.T + state[0][0] @ self.weight_hh_l0.T  # (B, H)
        return (torch.tanh(layer_norm(a, self.gain_ih_l0, self.bias_ih_l0))[None],)

    def run(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the outputs (B, T, H) and the last state for inputs x (B, T, I)."""
        weights = (self.weight_ih_l0, self.weight_hh_l0, self.gain_ih_l0, self.bias_ih_l0)
        h = NormRNNSteps.apply(x.transpose(0, 1), state[0][0], *weights)  # type: ignore[no-untyped-call]
        return h.transpose(0, 1), (h[-1:],)
