"""Back-propagation through time, written by hand for the cells with layer normalisation.

As in ``bptt``: the forward pass keeps what the backward pass needs in one tensor each, the
backward pass walks the steps once in reverse, and the gradients of recurrent weights, gains
and biases are one operation each over all steps.

Legend of shapes: B lanes (batch), T steps, H hidden units, G blocks of H rows. Time first.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from chargen.cells.bptt import (
    over_steps,
    product,
    product_type,
    sigmoid_back,
    tanh_back,
    with_start,
)

EPSILON = 1e-5  # added to the variance, as torch.nn and ONNX do


def layer_norm(a: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
    """Return gain * (a - mean) / sqrt(var + epsilon) + bias over the last axis."""
    return torch.nn.functional.layer_norm(a, a.shape[-1:], gain, bias, EPSILON)


class Normed:
    """One layer normalisation in all steps: what went in, and its mean and 1 / deviation.

    Args:
        room: a tensor of the steps' shape, (T, B, N).
        gain: factor of each unit, (N).
        bias: what is added to each unit, (N).
    """

    def __init__(self, room: Tensor, gain: Tensor, bias: Tensor) -> None:
        self.a, self.gain, self.bias = torch.empty_like(room), gain, bias
        self.mean, self.scale = (room.new_empty(*room.shape[:2], 1) for _ in range(2))

    def step(self, t: int, a: Tensor) -> Tensor:
        """Return a (B, N) normalised, and keep it as that of step t."""
        self.a[t] = a
        out, self.mean[t], self.scale[t] = torch.native_layer_norm(
            self.a[t], self.gain.shape, self.gain, self.bias, EPSILON
        )
        return out

    def back(self, t: int, grad: Tensor) -> Tensor:
        """Return the gradient of what went in at step t, (B, N)."""
        return self._back(grad, self.a[t], self.mean[t], self.scale[t], [True, False, False])[0]

    def of_weights(self, grad: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradients of gain and bias from those of all steps' results (T, B, N)."""
        back = self._back(grad, self.a, self.mean, self.scale, [False, True, True])
        return back[1], back[2]

    def _back(
        self, grad: Tensor, a: Tensor, mean: Tensor, scale: Tensor, mask: list[bool]
    ) -> tuple[Tensor, Tensor, Tensor]:
        back: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.native_layer_norm_backward(
            grad, a, self.gain.shape, mean, scale, self.gain, self.bias, mask
        )
        return back


class NormRNNSteps(torch.autograd.Function):
    """All steps of a simple recurrent layer with layer normalisation."""

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, h: Tensor, recurrent: Tensor, gain: Tensor, bias: Tensor
    ) -> Tensor:
        """Return all h (T, B, H) for W_I x_t of all steps, (T, B, H), and h before them."""
        ctx.weight = weight = recurrent.to(product_type(recurrent))
        ctx.normed = normed = Normed(inputs, gain, bias)
        h_all = with_start(h, len(inputs))
        for t, step in enumerate(inputs):
            a = normed.step(t, step + product(h_all[t], weight.T))
            torch.tanh(a, out=h_all[t + 1])
        ctx.save_for_backward(h_all)
        return h_all[1:]

    @staticmethod
    def backward(ctx: Any, grad_h: Tensor) -> tuple[Tensor, ...]:
        """Return the gradients of inputs, h, recurrent, gain and bias."""
        (h_all,) = ctx.saved_tensors
        outer, inner = torch.empty_like(grad_h), torch.empty_like(grad_h)  # of LN's result, sum
        dh = torch.zeros_like(h_all[0])
        for t in range(len(grad_h) - 1, -1, -1):
            tanh_back(dh + grad_h[t], h_all[t + 1], grad_input=outer[t])
            inner[t] = ctx.normed.back(t, outer[t])
            dh = product(inner[t], ctx.weight)
        grad_recurrent = over_steps(inner, h_all[:-1], ctx.weight.dtype)
        return inner, dh, grad_recurrent, *ctx.normed.of_weights(outer)


class NormLSTMSteps(torch.autograd.Function):
    """All steps of an LSTM with layer normalisation."""

    @staticmethod
    def forward(
        ctx: Any, gates: Tensor, h: Tensor, c: Tensor, recurrent: Tensor, *norms: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return all h (T, B, H) and the last c (B, H).

        Args:
            ctx: keeps what the backward pass needs.
            gates: LN(W_I x_t) of all steps, (T, B, 4*H): i, f, g, o.
            h: state before the first step, (B, H).
            c: memory before the first step, (B, H).
            recurrent: W_R, (4*H, H).
            norms: gain and bias of W_R h, (4*H) each, and of c, (H) each.
        """
        weight = recurrent.to(product_type(recurrent))
        h_all, c_all = with_start(h, len(gates)), with_start(c, len(gates))  # (T + 1, B, H)
        sums, memory = Normed(gates, *norms[:2]), Normed(c_all[1:], *norms[2:])
        tanh_c = torch.empty_like(c_all[1:])
        acts = gates.new_empty(*gates.shape[:2], 4, h.shape[1])  # (T, B, 4, H)
        for t, step in enumerate(gates):
            a = (step + sums.step(t, product(h_all[t], weight.T))).view_as(acts[t])
            torch.sigmoid(a, out=acts[t])
            torch.tanh(a[:, 2], out=acts[t, :, 2])
            i, f, g, o = acts[t].unbind(1)  # (B, H) each
            torch.addcmul(f * c_all[t], i, g, out=c_all[t + 1])
            torch.tanh(memory.step(t, c_all[t + 1]), out=tanh_c[t])
            torch.mul(o, tanh_c[t], out=h_all[t + 1])
        ctx.weight, ctx.sums, ctx.memory = weight, sums, memory
        ctx.save_for_backward(h_all, c_all, tanh_c, acts)
        return h_all[1:], c_all[-1].clone()

    @staticmethod
    def backward(ctx: Any, grad_h: Tensor, grad_c: Tensor) -> tuple[Tensor, ...]:
        """Return the gradients of gates, h, c, recurrent and norms."""
        h_all, c_all, tanh_c, acts = ctx.saved_tensors
        back = torch.empty_like(acts)  # gradients of the pre-activations, (T, B, 4, H)
        inner = torch.empty_like(back.flatten(2))  # of W_R h
        seen = torch.empty_like(tanh_c)  # of LN(c)
        dh, dc = torch.zeros_like(grad_c), grad_c
        for t in range(len(acts) - 1, -1, -1):
            dh, (i, f, g, o) = dh + grad_h[t], acts[t].unbind(1)
            sigmoid_back(dh * tanh_c[t], o, grad_input=back[t, :, 3])
            tanh_back(dh * o, tanh_c[t], grad_input=seen[t])
            dc = dc + ctx.memory.back(t, seen[t])
            sigmoid_back(dc * g, i, grad_input=back[t, :, 0])
            sigmoid_back(dc * c_all[t], f, grad_input=back[t, :, 1])
            tanh_back(dc * i, g, grad_input=back[t, :, 2])
            dc = dc * f
            inner[t] = ctx.sums.back(t, back[t].flatten(1))
            dh = product(inner[t], ctx.weight)
        gates = back.flatten(2)
        norms = (*ctx.sums.of_weights(gates), *ctx.memory.of_weights(seen))
        return gates, dh, dc, over_steps(inner, h_all[:-1], ctx.weight.dtype), *norms


class NormGRUSteps(torch.autograd.Function):
    """All steps of a GRU with layer normalisation."""

    @staticmethod
    def forward(
        ctx: Any, gates: Tensor, h: Tensor, recurrent: Tensor, gain: Tensor, bias: Tensor
    ) -> Tensor:
        """Return all h (T, B, H).

        Args:
            ctx: keeps what the backward pass needs.
            gates: LN(W_I x_t) of all steps, (T, B, 3*H): r, z, n.
            h: state before the first step, (B, H).
            recurrent: W_R, (3*H, H).
            gain: of W_R h, (3*H).
            bias: of W_R h, (3*H).
        """
        weight, two = recurrent.to(product_type(recurrent)), 2 * h.shape[1]
        h_all, acts = with_start(h, len(gates)), torch.empty_like(gates)
        r, z, n = acts.chunk(3, dim=2)  # (T, B, H) each
        pair = Normed(gates[..., :two], gain[:two], bias[:two])  # of both gates
        single = Normed(gates[..., two:], gain[two:], bias[two:])  # of the candidate
        v = torch.empty_like(h_all[1:])  # the candidate's part of LN(W_R h)
        for t, step in enumerate(gates):
            products = product(h_all[t], weight.T)
            v[t] = single.step(t, products[:, two:])
            torch.sigmoid(step[:, :two] + pair.step(t, products[:, :two]), out=acts[t, :, :two])
            torch.tanh(torch.addcmul(step[:, two:], r[t], v[t]), out=n[t])
            torch.lerp(n[t], h_all[t], z[t], out=h_all[t + 1])  # (1 - z) * n + z * h
        ctx.weight, ctx.pair, ctx.single = weight, pair, single
        ctx.save_for_backward(h_all, acts, v)
        return h_all[1:]

    @staticmethod
    def backward(ctx: Any, grad_h: Tensor) -> tuple[Tensor, ...]:
        """Return the gradients of gates, h, recurrent, gain and bias."""
        h_all, acts, v = ctx.saved_tensors
        two = 2 * v.shape[2]
        r, z, n = acts.chunk(3, dim=2)  # (T, B, H) each
        back, inner = torch.empty_like(acts), torch.empty_like(acts)  # of the sums, of W_R h
        dr, dz, dn = back.chunk(3, dim=2)
        dv, dh = torch.empty_like(v), torch.zeros_like(h_all[0])
        for t in range(len(acts) - 1, -1, -1):
            dh = dh + grad_h[t]
            kept = dh * z[t]
            tanh_back(dh - kept, n[t], grad_input=dn[t])
            sigmoid_back(dh * (h_all[t] - n[t]), z[t], grad_input=dz[t])
            sigmoid_back(dn[t] * v[t], r[t], grad_input=dr[t])
            torch.mul(dn[t], r[t], out=dv[t])
            inner[t, :, :two] = ctx.pair.back(t, back[t, :, :two])
            inner[t, :, two:] = ctx.single.back(t, dv[t])
            dh = kept + product(inner[t], ctx.weight)
        of_pair, of_single = ctx.pair.of_weights(back[..., :two]), ctx.single.of_weights(dv)
        norms = (torch.cat(parts) for parts in zip(of_pair, of_single, strict=True))
        return back, dh, over_steps(inner, h_all[:-1], ctx.weight.dtype), *norms
