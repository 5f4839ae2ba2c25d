"""Back-propagation through time by hand, for the LSTM with layer normalization.

As in ``bptt``, the forward pass stores what the backward pass needs in one tensor each, and the
backward pass goes through the steps once in reverse. The gradients of weights, gains and biases
are one operation each over all steps.

Legend of shapes: B batch size, T steps, H hidden units, G blocks of H rows. Time first.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from chargen.model.cells.bptt import Products, sigmoid_back, tanh, tanh_back

EPSILON = 1e-5  # added to the variance, as in torch.nn and ONNX


def layer_norm(a: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
    """Return gain * (a - mean) / sqrt(var + epsilon) + bias over the last axis."""
    return torch.nn.functional.layer_norm(a, a.shape[-1:], gain, bias, EPSILON)


class Normed:
    """One layer normalization over all steps: its inputs, their means and reciprocal deviations.

    Args:
        room: a tensor with the shape of the inputs, (T, B, N).
        gain: factor for each unit, (N).
        bias: bias for each unit, (N).
    """

    def __init__(self, room: Tensor, gain: Tensor, bias: Tensor) -> None:
        self.a, self.gain, self.bias = torch.empty_like(room), gain, bias
        self.mean, self.scale = (room.new_empty(*room.shape[:2], 1) for _ in range(2))

    def step(self, t: int, a: Tensor) -> Tensor:
        """Return a (B, N) normalized, and store a as the input of step t."""
        stored = self.a[t].copy_(a)
        out, self.mean[t], self.scale[t] = torch.native_layer_norm(
            stored, self.gain.shape, self.gain, self.bias, EPSILON
        )
        return out

    def back(self, t: int, grad: Tensor) -> Tensor:
        """Return the gradient of the input of step t, (B, N)."""
        return self._back(grad, self.a[t], self.mean[t], self.scale[t], [True, False, False])[0]

    def of_weights(self, grad: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradients of gain and bias from those of the outputs (T, B, N)."""
        back = self._back(grad, self.a, self.mean, self.scale, [False, True, True])
        return back[1], back[2]

    def _back(
        self, grad: Tensor, a: Tensor, mean: Tensor, scale: Tensor, mask: list[bool]
    ) -> tuple[Tensor, Tensor, Tensor]:
        back: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.native_layer_norm_backward(
            grad, a, self.gain.shape, mean, scale, self.gain, self.bias, mask
        )
        return back


def recurrent_products(gates: Tensor, recurrent: Tensor) -> Products:
    """Return the products W_R h alone: ``Products`` with an input of size 0."""
    return Products(gates[..., :0], recurrent[:, :0], recurrent)


class NormLSTMSteps(torch.autograd.Function):
    """All steps of an LSTM with layer normalization."""

    @staticmethod
    def forward(
        ctx: Any, gates: Tensor, h: Tensor, c: Tensor, recurrent: Tensor, *norms: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return all h (T, B, H) and the last c (B, H).

        Args:
            ctx: stores tensors for the backward pass.
            gates: LN(W_I x_t) of all steps, (T, B, 4*H): i, f, g, o.
            h: state before the first step, (B, H).
            c: memory before the first step, (B, H).
            recurrent: W_R, (4*H, H).
            norms: gain and bias of W_R h, (4*H) each, and of c, (H) each.
        """
        acts = h.new_empty(*gates.shape[:2], 4, h.shape[1])  # (T, B, 4, H)
        h_all, c_all, tanh_c = (h.new_empty(len(gates), *h.shape) for _ in range(3))
        products = recurrent_products(gates, recurrent)
        sums, memory = Normed(gates, *norms[:2]), Normed(c_all, *norms[2:])
        ctx.start, ctx.products, ctx.sums, ctx.memory = c, products, sums, memory
        rows = zip(gates, acts, c_all, tanh_c, h_all, strict=True)
        for t, (step, act, after, tanh_after, out) in enumerate(rows):
            a = (step + sums.step(t, products.step(t, h))).view_as(act)
            torch.sigmoid(a, out=act)
            i, f, g, o = act.unbind(1)  # (B, H) each
            tanh(a[:, 2], out=g)
            c = torch.addcmul(f * c, i, g, out=after)
            h = torch.mul(o, tanh(memory.step(t, c), out=tanh_after), out=out)
        ctx.save_for_backward(acts, c_all, tanh_c)
        return h_all, c.clone()

    @staticmethod
    def backward(ctx: Any, grad_h: Tensor, grad_c: Tensor) -> tuple[Tensor, ...]:
        """Return the gradients of gates, h, c, recurrent and norms."""
        acts, c_all, tanh_c = ctx.saved_tensors
        back, seen = torch.empty_like(acts), torch.empty_like(tanh_c)  # of the sums, of LN(c)
        dh, dc = torch.zeros_like(grad_c), grad_c
        rows = zip(acts, (ctx.start, *c_all), tanh_c, grad_h, back, seen, strict=False)
        for t, (act, before, tanh_after, grad, da, dn) in reversed(list(enumerate(rows))):
            (i, f, g, o), (di, df, dg, do) = act.unbind(1), da.unbind(1)
            dh = dh + grad
            sigmoid_back(dh * tanh_after, o, grad_input=do)
            tanh_back(dh * o, tanh_after, grad_input=dn)
            dc = dc + ctx.memory.back(t, dn)
            sigmoid_back(dc * g, i, grad_input=di)
            sigmoid_back(dc * before, f, grad_input=df)
            tanh_back(dc * i, g, grad_input=dg)
            dc = dc * f
            dh = ctx.products.back(t, ctx.sums.back(t, da.flatten(1)))
        gates, (_, _, recurrent) = back.flatten(2), ctx.products.gradients()
        norms = (*ctx.sums.of_weights(gates), *ctx.memory.of_weights(seen))
        return gates, dh, dc, recurrent, *norms
