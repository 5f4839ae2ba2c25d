"""Simple recurrent layers (Elman RNN)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from chargen.model.cells.base import State, TorchCell


class RNN(nn.RNN, TorchCell):
    """The simple recurrent layer (Elman 1990).

    ::

        h_t = tanh(W_I x_t + W_R h_{t-1} + b)

    H(I + H + 2) parameters. The gradient of the state k steps back is a product of k factors
    W_R^T diag(1 - h^2), so it vanishes or explodes with k.
    """

    kind = "rnn"

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden, batch_first=True)

    def step(self, x: Tensor, state: State) -> State:
        """Return (h_t,) for x_t (B, I)."""
        inputs, recurrent = self.products(x, state[0])
        return (torch.tanh(inputs + recurrent)[None],)


class ReluRNN(nn.RNN, TorchCell):
    """The simple recurrent layer with ReLU (Le, Jaitly, Hinton 2015).

    ::

        h_t = max(0, W_I x_t + W_R h_{t-1} + b)

    H(I + H + 2) parameters. W_R starts as the identity, so that at first the state is copied
    and the gradient neither vanishes nor explodes.
    """

    kind = "rnn-relu"

    recurrent_init = "identity"

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden, nonlinearity="relu", batch_first=True)

    def step(self, x: Tensor, state: State) -> State:
        """Return (h_t,) for x_t (B, I)."""
        inputs, recurrent = self.products(x, state[0])
        return (torch.relu(inputs + recurrent)[None],)
