"""sLSTM (Beck et al. 2024): an LSTM with exponential gates, a normaliser and a stabiliser.

Legend of shapes: B batch size, T steps, I inputs, H hidden units, K heads, D = H / K.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from benchmarks.modern_cells.base import ModernCell, product_type
from chargen.model.cells import State
from chargen.model.cells.bptt import sigmoid_back, tanh, tanh_back


class SLSTM(ModernCell):
    """The sLSTM with one head.

    ::

        m_t = max(ln sigma(f~_t) + m_{t-1}, i~_t)              stabiliser
        f_t = exp(ln sigma(f~_t) + m_{t-1} - m_t)              forget gate
        i_t = exp(i~_t - m_t)                                  input gate
        c_t = f_t * c_{t-1} + i_t * tanh(z~_t)                 memory
        n_t = f_t * n_{t-1} + i_t                              normaliser
        h_t = sigma(o~_t) * c_t / n_t

    with a~_t = W_a x_t + R_a h_{t-1} + b_a for each block a, in the order i, f, z, o. Only c / n
    and n exp(m) matter, so that the state is (h, c / n, l) with l = m + ln n. In these the cell
    is a mixture with one gate, and needs no stabiliser:

    ::

        q_t = sigma(i~_t - ln sigma(f~_t) - l_{t-1})
        c_t / n_t = (1 - q_t) * c_{t-1} / n_{t-1} + q_t * tanh(z~_t)
        l_t = i~_t - ln q_t

    A text begins with l = 0: a memory of zeros that counts as much as an input with i~ = 0.
    4H(I + H/K + 1) parameters with K heads.
    """

    kind = "slstm"
    parts = "hcl"

    def advance(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return h_t (B, H) and the state for x_t (B, I)."""
        (h,), (c,), (norm,) = state
        i, f, z, o = self.products(x, h)
        m = torch.maximum(logsigmoid(f) + norm, i)
        f, i = torch.exp(logsigmoid(f) + norm - m), torch.exp(i - m)
        n = f + i  # the state before has n = 1 and m = l
        c = (f * c + i * torch.tanh(z)) / n
        h = torch.sigmoid(o) * c
        return h, (h[None], c[None], (m + torch.log(n))[None])

    def run(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the outputs (B, T, H) and the last state for inputs x (B, T, I)."""
        start = (torch.stack(part[0].chunk(self.heads, dim=1)) for part in state)
        every = (self.weight_ih_l0, self.weight_hh_l0, self.bias_ih_l0)
        weights = (torch.stack(weight.chunk(self.heads)) for weight in every)
        h, *last = SLSTMSteps.apply(x.transpose(0, 1), *start, *weights)  # type: ignore[no-untyped-call]
        y = h.permute(2, 0, 1, 3).flatten(2)  # (B, T, H)
        return y, (y[None, :, -1], *(part.transpose(0, 1).flatten(1)[None] for part in last))


class HeadSLSTM(SLSTM):
    """The sLSTM in four heads, as its authors use it."""

    kind = "slstm-heads"
    heads = 4


class HeadProducts:
    """Products W [x_t, h_{t-1}] of K heads step by step, as ``bptt.Products`` has them of one.

    Args:
        x: inputs of all steps, (T, B, I).
        of_input: W_I of each head, (K, 4*D, I).
        recurrent: R of each head, (K, 4*D, D).
    """

    def __init__(self, x: Tensor, of_input: Tensor, recurrent: Tensor) -> None:
        self._type, self._width = recurrent.dtype, x.shape[2]
        low = product_type(recurrent)
        self._input, self._recurrent = of_input.to(low), recurrent.to(low)
        both = torch.cat([self._input, self._recurrent], dim=2)  # (K, 4*D, I + D)
        self._both = both.mT.contiguous()
        size = len(both), *x.shape[:2]
        self._seen = x.new_empty(*size, both.shape[2], dtype=low)
        self._seen[..., : self._width] = x
        self._rows, self._states = self._seen.unbind(1), self._seen[..., self._width :].unbind(1)
        self._back = x.new_empty(*size, both.shape[1], dtype=low)

    def step(self, t: int, h: Tensor) -> Tensor:
        """Return the products (K, B, 4*D) at step t, for the state h (K, B, D) before it."""
        self._states[t].copy_(h)
        return torch.bmm(self._rows[t], self._both)

    def back(self, t: int, grad: Tensor) -> Tensor:
        """Return the gradient of h (K, B, D) from that of the products, and store that."""
        return torch.bmm(self._back[:, t].copy_(grad), self._recurrent)

    def gradients(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients of x (T, B, I), W_I and R after the backward pass."""
        back, seen = self._back.flatten(1, 2), self._seen.flatten(1, 2)  # (K, T*B, ...)
        both = torch.bmm(back.mT, seen).to(self._type)  # (K, 4*D, I + D)
        dx = torch.bmm(back, self._input).sum(0).view(*self._seen.shape[1:3], -1)
        return dx.to(self._type), both[..., : self._width], both[..., self._width :]


class SLSTMSteps(torch.autograd.Function):
    """All steps of an sLSTM as a mixture with one gate, with the derivatives by hand."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, h: Tensor, c: Tensor, norm: Tensor, *weights: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return all h (T, K, B, D), and the last c and l (K, B, D).

        Args:
            ctx: stores tensors for the backward pass.
            x: inputs of all steps, (T, B, I).
            h: output before the first step, (K, B, D).
            c: c / n before it.
            norm: l before it.
            weights: W_I (K, 4*D, I), R (K, 4*D, D) and b (K, 4*D) of each head.
        """
        of_input, recurrent, bias = weights
        ctx.products = products = HeadProducts(x, of_input, recurrent)
        acts = h.new_empty(len(x), *h.shape[:2], 4, h.shape[2])  # (T, K, B, 4, D)
        h_all, c_all, q_all = (h.new_empty(len(x), *h.shape) for _ in range(3))
        ctx.start = c
        i, q = norm, torch.ones_like(norm)  # l = i - ln q
        rows = zip(acts, h_all, c_all, q_all, strict=True)
        for t, (act, out, after, mixed) in enumerate(rows):
            torch.add(products.step(t, h), bias[:, None], out=act.flatten(2))
            i_before, (i, f, z, o) = i, act.unbind(2)  # (K, B, D) each
            torch.sigmoid(act[:, :, 1::2], out=act[:, :, 1::2])  # f and o
            logit = torch.log(q / f).add_(i).sub_(i_before)
            q = torch.sigmoid(logit, out=mixed)
            c = torch.lerp(c, tanh(z, out=z), q, out=after)
            h = torch.mul(o, c, out=out)
        ctx.save_for_backward(acts, c_all, q_all)
        return h_all, c.clone(), i - torch.log(q)

    @staticmethod
    def backward(ctx: Any, grad_h: Tensor, dc: Tensor, dl: Tensor) -> tuple[Tensor, ...]:
        """Return the gradients of x, h, c, l and the weights."""
        acts, c_all, q_all = ctx.saved_tensors
        back = torch.empty_like(acts[0])  # gradients of a step's pre-activations
        (di, df, dz, do), of_bias = back.unbind(2), torch.zeros_like(back)
        dh = torch.zeros_like(dc)
        rows = zip(acts, (ctx.start, *c_all), c_all, q_all, grad_h, strict=False)
        for t, (act, before, after, q, grad) in reversed(list(enumerate(rows))):
            (_, f, z, o), dh = act.unbind(2), dh + grad
            sigmoid_back(dh * after, o, grad_input=do)
            dc = torch.addcmul(dc, dh, o)
            into = dc * q
            tanh_back(into, z, grad_input=dz)
            du = sigmoid_back(dc * (z - before), q).sub_(dl).addcmul_(dl, q)  # of the logit of q
            torch.add(dl, du, out=di)
            dl, dc = -du, dc - into
            torch.addcmul(dl, du, f, out=df)
            of_bias += back
            dh = ctx.products.back(t, back.flatten(2))
        dx, of_input, recurrent = ctx.products.gradients()
        return dx, dh.to(dc.dtype), dc, dl, of_input, recurrent, of_bias.sum(1).flatten(1)
