"""Back-propagation through time by hand, for the cells that torch.nn lacks.

Autograd over a Python loop stores every small operation of every step. Here the forward pass
stores the gates and the states in one tensor each. The backward pass goes through the steps once
in reverse and computes the gradients of the pre-activations. The gradients of the weight matrices
are then one product over all steps.

Legend of shapes: B batch size, T steps, I inputs, H hidden units, G blocks of H rows. Time comes
first, so that the data of one step is contiguous.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

sigmoid_back = torch.ops.aten.sigmoid_backward  # grad * y * (1 - y) in one pass
tanh_back = torch.ops.aten.tanh_backward  # grad * (1 - y * y) in one pass
MINUS_ONE = torch.tensor(-1.0)


def tanh(x: Tensor, out: Tensor) -> Tensor:
    """Compute tanh(x) = 2 sigma(2x) - 1 into ``out``; torch.tanh is three times slower on a CPU."""
    return torch.add(MINUS_ONE, torch.sigmoid(2 * x, out=out), alpha=2, out=out)


class Products:
    """Products W [x_t, h_{t-1}] step by step, with the tensors that the gradients need.

    The products run in the dtype of autocast, or else in that of the weights.

    Args:
        x: inputs of all steps, (T, B, I).
        of_input: W_I, (G*H, I).
        recurrent: W_R, (G*H, H).
    """

    def __init__(self, x: Tensor, of_input: Tensor, recurrent: Tensor) -> None:
        self._type, self._width = recurrent.dtype, x.shape[2]
        device = x.device.type
        auto = torch.is_autocast_enabled(device)
        dtype = torch.get_autocast_dtype(device) if auto else recurrent.dtype
        self._input, self._recurrent = of_input.to(dtype), recurrent.to(dtype)
        self._both = torch.cat([self._input, self._recurrent], dim=1)  # (G*H, I + H)
        self._seen = x.new_empty(*x.shape[:2], self._both.shape[1], dtype=dtype)
        self._seen[..., : self._width] = x
        self._rows, self._states = self._seen.unbind(), self._seen[..., self._width :].unbind()
        self._back = x.new_empty(*x.shape[:2], len(recurrent), dtype=dtype)

    def step(self, t: int, h: Tensor) -> Tensor:
        """Return the product (B, G*H) at step t, for the state h (B, H) before it."""
        self._states[t].copy_(h)
        return self._rows[t] @ self._both.T

    def back(self, t: int, grad: Tensor) -> Tensor:
        """Return the gradient of h (B, H) from that of the product at step t, and store that."""
        return self._back[t].copy_(grad) @ self._recurrent

    def gradients(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients of x, W_I and W_R after the backward pass over all steps."""
        both = self._back.flatten(0, 1).T @ self._seen.flatten(0, 1)  # (G*H, I + H)
        of_input, recurrent = both[:, : self._width], both[:, self._width :]
        return self._back @ self._input, of_input.to(self._type), recurrent.to(self._type)


class PeepholeSteps(torch.autograd.Function):
    """All steps of an LSTM with peepholes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, h: Tensor, c: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
        """Return all h (T, B, H) and the last c (B, H).

        Args:
            ctx: stores tensors for the backward pass.
            x: inputs of all steps, (T, B, I).
            h: state before the first step, (B, H).
            c: memory before the first step, (B, H).
            weights: W_I, W_R and b in the order i, f, g, o, and the peepholes, (3, H).
        """
        of_input, recurrent, bias, peephole = weights
        products = Products(x, of_input, recurrent)
        acts = h.new_empty(len(x), len(h), 4, h.shape[1])  # (T, B, 4, H)
        h_all, c_all, tanh_c = (h.new_empty(len(x), *h.shape) for _ in range(3))
        ctx.start = c
        see_old, see_new = peephole[:2], peephole[2]
        rows = zip(acts, acts[:, :, :2], c_all, tanh_c, h_all, strict=True)
        for t, (act, pair, after, tanh_after, out) in enumerate(rows):
            a = (bias + products.step(t, h)).view_as(act)
            i, f, g, o = act.unbind(1)  # (B, H) each
            torch.sigmoid(torch.addcmul(a[:, :2], see_old, c[:, None]), out=pair)  # i and f
            tanh(a[:, 2], out=g)
            c = torch.addcmul(f * c, i, g, out=after)
            torch.sigmoid(torch.addcmul(a[:, 3], see_new, c), out=o)
            h = torch.mul(o, tanh(c, out=tanh_after), out=out)
        ctx.products = products
        ctx.save_for_backward(acts, c_all, tanh_c, peephole)
        return h_all, c.clone()

    @staticmethod
    def backward(ctx: Any, grad_h: Tensor, grad_c: Tensor) -> tuple[Tensor, ...]:
        """Return the gradients of x, h, c and the weights."""
        acts, c_all, tanh_c, peephole = ctx.saved_tensors
        back = torch.empty_like(acts[0])  # gradients of a step's pre-activations, (B, 4, H)
        (di, df, dg, do), (p_i, p_f, p_o) = back.unbind(1), peephole
        of_bias, of_peephole = torch.zeros_like(back), torch.zeros_like(back[:, :3])
        dh, dc = torch.zeros_like(grad_c), grad_c
        rows = zip(acts, (ctx.start, *c_all), c_all, tanh_c, grad_h, strict=False)
        for t, (act, before, after, tanh_after, grad) in reversed(list(enumerate(rows))):
            (i, f, g, o), dh = act.unbind(1), dh + grad
            sigmoid_back(dh * tanh_after, o, grad_input=do)
            dc = (dc + tanh_back(dh * o, tanh_after)).addcmul_(do, p_o)
            sigmoid_back(dc * g, i, grad_input=di)
            sigmoid_back(dc * before, f, grad_input=df)
            tanh_back(dc * i, g, grad_input=dg)
            dc = (dc * f).addcmul_(di, p_i).addcmul_(df, p_f)
            of_peephole[:, :2].addcmul_(back[:, :2], before[:, None])
            of_peephole[:, 2].addcmul_(do, after)
            of_bias += back
            dh = ctx.products.back(t, back.flatten(1))
        dx, of_input, recurrent = ctx.products.gradients()
        of_bias = of_bias.sum(0).flatten()
        return dx, dh, dc, of_input, recurrent, of_bias, of_peephole.sum(0)


class GRUSteps(torch.autograd.Function):
    """All steps of a GRU with the reset gate before the recurrent product."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, h: Tensor, *weights: Tensor) -> Tensor:
        """Return all h (T, B, H).

        Args:
            ctx: stores tensors for the backward pass.
            x: inputs of all steps, (T, B, I).
            h: state before the first step, (B, H).
            weights: W_I, W_R and b in the order r, z, n.
        """
        (of_input, recurrent, bias), two = weights, 2 * h.shape[1]
        pair = Products(x, of_input[:two], recurrent[:two])  # of both gates
        single = Products(x, of_input[two:], recurrent[two:])  # of the candidate
        acts = h.new_empty(len(x), len(h), 3 * h.shape[1])
        h_all = h.new_empty(len(x), *h.shape)
        ctx.start, ctx.pair, ctx.single = h, pair, single
        for t, (act, out) in enumerate(zip(acts, h_all, strict=True)):
            r, z, n = act.chunk(3, dim=1)  # (B, H) each
            torch.sigmoid(bias[:two] + pair.step(t, h), out=act[:, :two])
            tanh(bias[two:] + single.step(t, r * h), out=n)
            h = torch.lerp(n, h, z, out=out)  # (1 - z) * n + z * h
        ctx.save_for_backward(h_all, acts)
        return h_all

    @staticmethod
    def backward(ctx: Any, grad_h: Tensor) -> tuple[Tensor, ...]:
        """Return the gradients of x, h and the weights."""
        h_all, acts = ctx.saved_tensors
        back = torch.empty_like(acts[0])  # gradients of a step's pre-activations, (B, 3*H)
        (dr, dz, dn), two = back.chunk(3, dim=1), 2 * h_all.shape[2]
        dh, of_bias = torch.zeros_like(h_all[0]), torch.zeros_like(back)
        rows = zip(acts, (ctx.start, *h_all), grad_h, strict=False)
        for t, (act, before, grad) in reversed(list(enumerate(rows))):
            r, z, n = act.chunk(3, dim=1)
            dh = dh + grad
            retained = dh * z
            tanh_back(dh - retained, n, grad_input=dn)
            sigmoid_back(dh * (before - n), z, grad_input=dz)
            inner = ctx.single.back(t, dn)  # the gradient of r * h
            sigmoid_back(inner * before, r, grad_input=dr)
            dh = retained + inner * r + ctx.pair.back(t, back[:, :two])
            of_bias += back
        of_pair, of_single = ctx.pair.gradients(), ctx.single.gradients()
        weights = (torch.cat(parts) for parts in zip(of_pair[1:], of_single[1:], strict=True))
        return of_pair[0] + of_single[0], dh, *weights, of_bias.sum(0)
