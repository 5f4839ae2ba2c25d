"""Mogrifier LSTM (Melis et al. 2020): input and state scale each other before the LSTM.

Legend of shapes: B batch size, T steps, I inputs, H hidden units, R rounds.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from benchmarks.modern_cells.base import ModernCell, product_type
from chargen.config import TrainConfig
from chargen.model.cells import State
from chargen.model.cells.bptt import sigmoid_back, tanh, tanh_back
from chargen.model.spec import Shape

ZERO = torch.zeros(())


class MogrifierLSTM(ModernCell):
    """The LSTM with R = 5 rounds before each step, the number that its authors found best.

    ::

        x^r = 2 sigma(Q_r h^{r-1}) * x^{r-2}     r = 1, 3, 5
        h^r = 2 sigma(Q_r x^{r-1}) * h^{r-2}     r = 2, 4
        h_t, c_t = LSTM(x^5, (h^4, c_{t-1}))     with x^{-1} = x_t, h^0 = h_{t-1}

    4H(I + H + 1) + RHI parameters, blocks in the order i, f, g, o.
    """

    kind = "lstm-mogrifier"
    parts = "hc"
    rounds: ClassVar[int] = 5
    scale_x: Tensor
    scale_h: Tensor

    @classmethod
    def shapes(cls, inputs: int, hidden: int) -> dict[str, Shape]:
        """Return the shape of each weight by name, for I inputs and H hidden units."""
        pairs = cls.rounds // 2
        return super().shapes(inputs, hidden) | {
            "scale_x": (cls.rounds - pairs, inputs, hidden),
            "scale_h": (pairs, hidden, inputs),
        }

    def reset(self, generator: torch.Generator, start: TrainConfig) -> None:
        """Initialize the LSTM as ever, and the scales as input weights."""
        super().reset(generator, start)
        for matrix in (*self.scale_x, *self.scale_h):
            nn.init.xavier_uniform_(matrix, generator=generator)

    def advance(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return h_t (B, H) and (h_t, c_t) for x_t (B, I)."""
        (h,), (c,) = state
        for number in range(self.rounds):
            if number % 2:
                h = 2 * torch.sigmoid(x @ self.scale_h[number // 2].T) * h
            else:
                x = 2 * torch.sigmoid(h @ self.scale_x[number // 2].T) * x
        i, f, g, o = self.products(x, h)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        return h, (h[None], c[None])

    def run(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the outputs (B, T, H) and the last state for inputs x (B, T, I)."""
        weights = (self.weight_ih_l0, self.weight_hh_l0, self.bias_ih_l0)
        scales, low = (self.scale_x, self.scale_h), product_type(state[0])
        with torch.autocast(x.device.type, enabled=False):  # the small products stay in float32
            h, c = MogrifierSteps.apply(
                low, x.transpose(0, 1), state[0][0], state[1][0], *weights, *scales
            )  # type: ignore[no-untyped-call]
        return h.transpose(0, 1), (h[-1:], c[None])


class Rounds:
    """The rounds of all steps, with the tensors that their gradients need.

    Args:
        steps: T.
        x: inputs of one step (B, I).
        h: state of one step (B, H).
        scales: the matrices Q of the rounds that scale x, and of those that scale h.
    """

    def __init__(self, steps: int, x: Tensor, h: Tensor, scales: tuple[Tensor, ...]) -> None:
        of_x, of_h = scales
        count = len(of_x) + len(of_h)
        self._matrices = [(of_h if n % 2 else of_x)[n // 2] for n in range(count)]
        kinds = [(h, x) if n % 2 else (x, h) for n in range(count)]  # scaled, read
        self._scaled, self._factors, self._back = (
            [v.new_empty(steps, *v.shape) for v, _ in kinds] for _ in range(3)
        )
        self._read = [v.new_empty(steps, *v.shape) for _, v in kinds]

    def step(self, t: int, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return x (B, I) and h (B, H) of step t after all rounds."""
        pair = [x, h]
        for n, matrix in enumerate(self._matrices):
            own, other = n % 2, 1 - n % 2
            read = self._read[n][t].copy_(pair[other])
            factor = torch.sigmoid(read @ matrix.T, out=self._factors[n][t])
            scaled = self._scaled[n][t].copy_(pair[own])
            pair[own] = torch.addcmul(ZERO.to(factor.dtype), factor, scaled, value=2)
        return pair[0], pair[1]

    def back(self, t: int, dx: Tensor, dh: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradients of x and h before the rounds from those behind them."""
        pair = [dx, dh]
        for n in reversed(range(len(self._matrices))):
            own, other = n % 2, 1 - n % 2
            grad, factor = 2 * pair[own], self._factors[n][t]
            logit = self._back[n][t].copy_(sigmoid_back(grad * self._scaled[n][t], factor))
            pair[own] = grad * factor
            pair[other] = pair[other] + logit @ self._matrices[n]
        return pair[0], pair[1]

    def gradients(self) -> tuple[Tensor, Tensor]:
        """Return the gradients of both stacks of matrices after the backward pass."""
        rows = zip(self._back, self._read, strict=True)
        every = [back.flatten(0, 1).T @ read.flatten(0, 1) for back, read in rows]
        return torch.stack(every[::2]), torch.stack(every[1::2])


class MogrifierSteps(torch.autograd.Function):
    """All steps of a mogrifier LSTM, with the derivatives by hand."""

    @staticmethod
    def forward(
        ctx: Any, low: torch.dtype, x: Tensor, h: Tensor, c: Tensor, *weights: Tensor
    ) -> tuple[Tensor, ...]:
        """Return all h (T, B, H) and the last c (B, H).

        Args:
            ctx: stores tensors for the backward pass.
            low: type of the products of the LSTM.
            x: inputs of all steps, (T, B, I).
            h: state before the first step, (B, H).
            c: memory before the first step, (B, H).
            weights: W_I, W_R and b in the order i, f, g, o, and the two stacks of Q.
        """
        of_input, recurrent, bias, *scales = weights
        x = x.to(h.dtype)
        ctx.both = torch.cat([of_input, recurrent], dim=1).to(low)  # (4*H, I + H)
        ctx.rounds = rounds = Rounds(len(x), x[0], h, tuple(scales))
        seen = h.new_empty(*x.shape[:2], ctx.both.shape[1], dtype=low)
        acts = h.new_empty(len(x), len(h), 4, h.shape[1])
        h_all, c_all, tanh_c = (h.new_empty(len(x), *h.shape) for _ in range(3))
        ctx.start = c
        rows = zip(seen, acts, h_all, c_all, tanh_c, strict=True)
        for t, (row, act, out, after, tanh_after) in enumerate(rows):
            row[:, : x.shape[2]], row[:, x.shape[2] :] = rounds.step(t, x[t], h)
            torch.add(row @ ctx.both.T, bias, out=act.flatten(1))
            i, f, g, o = act.unbind(1)  # (B, H) each
            torch.sigmoid(act[:, :2], out=act[:, :2])
            torch.sigmoid(o, out=o)
            c = torch.addcmul(f * c, i, tanh(g, out=g), out=after)
            h = torch.mul(o, tanh(c, out=tanh_after), out=out)
        ctx.save_for_backward(seen, acts, c_all, tanh_c)
        return h_all, c.clone()

    @staticmethod
    def backward(ctx: Any, grad_h: Tensor, dc: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x, h, c and the weights."""
        seen, acts, c_all, tanh_c = ctx.saved_tensors
        width = seen.shape[2] - dc.shape[1]
        back, dh = torch.empty_like(acts), torch.zeros_like(dc)
        of_x = dc.new_empty(*seen.shape[:2], width)
        rows = zip(back, acts, (ctx.start, *c_all), tanh_c, grad_h, strict=False)
        for t, (own, act, before, tanh_after, grad) in reversed(list(enumerate(rows))):
            (di, df, dg, do), (i, f, g, o) = own.unbind(1), act.unbind(1)
            dh = dh + grad
            sigmoid_back(dh * tanh_after, o, grad_input=do)
            dc = dc + tanh_back(dh * o, tanh_after)
            sigmoid_back(dc * g, i, grad_input=di)
            sigmoid_back(dc * before, f, grad_input=df)
            tanh_back(dc * i, g, grad_input=dg)
            dc = dc * f
            both = (own.flatten(1).to(seen.dtype) @ ctx.both).to(dc.dtype)
            of_x[t], dh = ctx.rounds.back(t, both[:, :width], both[:, width:])
        flat = back.flatten(2).flatten(0, 1)  # (T*B, 4*H)
        both = (flat.to(seen.dtype).T @ seen.flatten(0, 1)).to(dc.dtype)
        weights = both[:, :width], both[:, width:], flat.sum(0)
        return None, of_x, dh, dc, *weights, *ctx.rounds.gradients()
