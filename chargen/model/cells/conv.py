"""Causal convolution over the inputs, and layers that step once every few tokens above it.

Legend of shapes: B batch size, T steps, I inputs, H hidden units, K kernel, S period, M blocks.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, linear

from chargen.config import TrainConfig
from chargen.model.cells.base import Cell, GatedCell, Gates, State
from chargen.model.spec import CONVOLUTION, ModelConfig, decoder_shapes


class Convolution(Cell):
    """A causal 1-D convolution over the sequence, the zeros before its beginning among the inputs.

    ::

        h_t = relu(W [x_{t-K+1}, ..., x_t] + b)

    H(KI + 1) parameters. An output reads nothing that comes after its own input, so the sequence
    stays as long as it is. Its state is the last output and the last K - 1 inputs.

    A stride S is that of the layers above: they step once every S tokens (``Clocked``).

    Args:
        inputs: size of the input (I).
        hidden: size of the output (H).
        kernel: number of inputs that an output reads (K).
    """

    kind = CONVOLUTION

    def __init__(self, inputs: int, hidden: int, kernel: int) -> None:
        super().__init__()
        self.hidden_size, self.inputs, self.kernel = hidden, inputs, kernel
        self.weight_ih_l0 = nn.Parameter(torch.zeros(hidden, kernel * inputs))
        self.bias_ih_l0 = nn.Parameter(torch.zeros(hidden))

    def init_state(self, batch: int) -> State:
        """Return the initial state: zeros, (1, B, H) and (1, B, (K - 1) I)."""
        zeros = self.weight_ih_l0.new_zeros
        return zeros(1, batch, self.hidden_size), zeros(1, batch, (self.kernel - 1) * self.inputs)

    def step(self, x: Tensor, state: State) -> State:
        """Return the state after one input x (B, I): the definition."""
        window = torch.cat([state[1][0], x], dim=1)  # (B, K*I)
        h = torch.relu(window @ self.weight_ih_l0.T + self.bias_ih_l0)  # (B, H)
        return h[None], window[None, :, self.inputs :]

    def run(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the outputs (B, T, H) and the last state for inputs x (B, T, I)."""
        before = state[1][0].view(len(x), self.kernel - 1, self.inputs)
        seen = torch.cat([before.to(x.dtype), x], dim=1)  # (B, K - 1 + T, I)
        windows = seen.unfold(1, self.kernel, 1).transpose(2, 3).flatten(2)  # (B, T, K*I)
        h = torch.relu(linear(windows, self.weight_ih_l0, self.bias_ih_l0))
        last = seen[:, x.shape[1] :].flatten(1)
        return h, (h[None, :, -1], last[None])


class Decoder(nn.Module):
    """A hidden layer between the outputs of all layers and the head, where there is a stride.

    ::

        d_t = relu(W [h^1_t, ..., h^L_t] + b_p)    p: the tokens read since the last block ended

    The top layer gives one output for S tokens, each of which has to be predicted by itself: from
    that output, which is held, and from the layers below the stride, which have read the tokens
    since. N outputs of all layers, P tokens in a block of the top layer.

    Args:
        config: the architecture.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.widths, self.periods = [layer.hidden for layer in config.layers], config.periods
        for name, shape in decoder_shapes(config).items():
            self.register_parameter(name, nn.Parameter(torch.zeros(shape)))

    weight: Tensor
    bias: Tensor

    def reset(self, generator: torch.Generator) -> None:
        """Initialize the weights; the biases begin at zero."""
        nn.init.xavier_uniform_(self.weight, generator=generator)
        nn.init.zeros_(self.bias)

    def forward(self, outputs: Sequence[Tensor], place: Tensor) -> Tensor:
        """Return the inputs of the head, (B, T, H).

        Args:
            outputs: of all layers, (B, T, N) together.
            place: tokens read of the block that has begun, before the first step, (1, B, 1).
        """
        d = embedding(tokens_read(place, outputs[0]) % len(self.bias), self.bias)
        weights = torch.split(self.weight, self.widths, dim=1)
        for y, weight, period in zip(outputs, weights, self.periods, strict=True):
            d = d + held_product(y, weight, place % period, period)
        return torch.relu(d)


def held_product(y: Tensor, weight: Tensor, place: Tensor, period: int) -> Tensor:
    """Return y W (B, T, H) for outputs (B, T, N) that are held: one product for each block."""
    if period == 1:
        return linear(y, weight)
    blocks = tokens_read(place, y) // period  # (B, T), that have ended
    numbers = torch.arange(-(-y.shape[1] // period) + 1, device=y.device)
    begins = numbers * period - 1 - place[0].long()  # (B, M + 1)
    return _picked(linear(_picked(y, begins.clamp(0, y.shape[1] - 1)), weight), blocks)


class Clocked(Cell):
    """A layer that steps once every S tokens, with the input at the end of each block of S.

    ::

        s_t = step(x_t, s_{t-1})    if t is a multiple of S (the first token is t = 1)
        s_t = s_{t-1}               otherwise

    Its output is held until the next block ends. The further part p of its state, (1, B, 1), is
    the number of tokens read of the block that has begun, so that each row of a batch may be at
    another place.

    Args:
        cell: the layer that steps; it keeps its weights.
        period: tokens of a block (S).
    """

    def __init__(self, cell: Cell, period: int) -> None:
        super().__init__()
        self.cell, self.period, self.hidden_size = cell, period, cell.hidden_size

    @property
    def states(self) -> str:
        """One letter for each part of the state, in order."""
        return self.cell.states + "p"

    def init_state(self, batch: int) -> State:
        """Return the initial state: zeros."""
        return *self.cell.init_state(batch), self.cell.weight_ih_l0.new_zeros(1, batch, 1)

    def reset(self, generator: torch.Generator, start: TrainConfig) -> None:
        """Initialize the weights of the layer."""
        self.cell.reset(generator, start)

    def gated_step(self, x: Tensor, state: State) -> tuple[State, Gates]:
        """Return the state after one input x (B, I), and gates: NaN in rows that do not step."""
        *own, place = state
        ends, old = place + 1 == self.period, tuple(own)  # (1, B, 1)
        gates: Gates = {}
        if isinstance(self.cell, GatedCell):
            new, gates = self.cell.gated_step(x, old)
        else:
            new = self.cell.step(x, old)
        gates = {name: torch.where(ends[0], gate, torch.nan) for name, gate in gates.items()}
        return (*_chosen(ends, new, old), (place + 1) % self.period), gates

    def step(self, x: Tensor, state: State) -> State:
        """Return the state after one input x (B, I): the definition."""
        return self.gated_step(x, state)[0]

    def run(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the outputs (B, T, H) and the last state for inputs x (B, T, I).

        The rows of a batch end T / S blocks, and some of them one more where that is not a whole
        number: the last step then counts for these alone.
        """
        *own, place = state
        steps = x.shape[1]
        read = tokens_read(place, x)
        blocks = torch.arange(1, -(-steps // self.period) + 1, device=x.device)
        ends = blocks * self.period - 1 - place[0].long()  # (B, M)
        inputs = _picked(x, ends.clamp(max=steps - 1))  # (B, M, I)
        blocks = read // self.period  # (B, T), that have ended
        y, last = self._run_blocks(inputs, tuple(own), blocks[:, -1])
        held = torch.cat([own[0].transpose(0, 1).to(y.dtype), y], dim=1)  # (B, 1 + M, H)
        return _picked(held, blocks), (*last, (read[None, :, -1:] % self.period).to(place.dtype))

    def _run_blocks(self, inputs: Tensor, state: State, ended: Tensor) -> tuple[Tensor, State]:
        """Return the outputs (B, M, H) and the last state for inputs (B, M, I) of blocks.

        Args:
            inputs: of as many blocks as the row has that ends most.
            state: before the first.
            ended: blocks that each row ends (B,), M or M - 1.
        """
        count = inputs.shape[1]
        if bool((ended == count).all()):
            return self.cell.run(inputs, state)
        outputs = []
        if count > 1:
            y, state = self.cell.run(inputs[:, :-1], state)
            outputs.append(y)
        y, new = self.cell.run(inputs[:, -1:], state)
        return torch.cat([*outputs, y], dim=1), _chosen((ended == count)[None, :, None], new, state)


def tokens_read(place: Tensor, x: Tensor) -> Tensor:
    """Return the tokens read since the block in part began, after each step of x, (B, T)."""
    return place[0].long() + torch.arange(1, x.shape[1] + 1, device=x.device)


def _picked(x: Tensor, places: Tensor) -> Tensor:
    """Return the steps of x (B, T, N) at the places (B, M) of each row, (B, M, N).

    As rows of a table: the gradient of an embedding is much faster than that of an index.
    """
    rows = torch.arange(len(x), device=x.device)[:, None] * x.shape[1]
    return embedding(places + rows, x.flatten(0, 1))


def _chosen(where: Tensor, new: State, old: State) -> State:
    """Return the new state in some rows, the old one in the others."""
    return tuple(torch.where(where, a, b) for a, b in zip(new, old, strict=True))
