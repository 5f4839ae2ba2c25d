"""Back-propagation through time, written by hand for the cells that torch.nn lacks.

Autograd over a Python loop keeps every small operation of every step. Here the forward pass
keeps the gates and the states in one tensor each, the backward pass walks the steps once in
reverse for the gradients of the pre-activations, and the gradient of the recurrent weights is
one product over all steps.

Legend of shapes: B lanes (batch), T steps, H hidden units, G blocks of H rows. Time first.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

sigmoid_back = torch.ops.aten.sigmoid_backward  # grad * y * (1 - y) in one pass
tanh_back = torch.ops.aten.tanh_backward  # grad * (1 - y * y) in one pass


class PeepholeSteps(torch.autograd.Function):
    """All steps of an LSTM with peepholes."""

    @staticmethod
    def forward(
        ctx: Any, gates: Tensor, h: Tensor, c: Tensor, recurrent: Tensor, peephole: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return all h (T, B, H) and the last c (B, H).

        Args:
            ctx: keeps what the backward pass needs.
            gates: W_I x_t + b of all steps, (T, B, 4*H): i, f, g, o.
            h: state before the first step, (B, H).
            c: memory before the first step, (B, H).
            recurrent: W_R, (4*H, H).
            peephole: p_i, p_f, p_o, (3, H).
        """
        weight = recurrent.to(product_type(recurrent))
        h_all, c_all = with_start(h, len(gates)), with_start(c, len(gates))  # (T + 1, B, H)
        tanh_c = torch.empty_like(c_all[1:])
        acts = gates.new_empty(*gates.shape[:2], 4, h.shape[1])  # (T, B, 4, H)
        for t, step in enumerate(gates):
            a = (step + product(h_all[t], weight.T)).view_as(acts[t])
            _activate(a, c_all[t], peephole, acts[t], c_all[t + 1])
            torch.tanh(c_all[t + 1], out=tanh_c[t])
            torch.mul(acts[t, :, 3], tanh_c[t], out=h_all[t + 1])
        ctx.save_for_backward(h_all, c_all, tanh_c, acts, weight, peephole)
        return h_all[1:], c_all[-1].clone()

    @staticmethod
    def backward(ctx: Any, grad_h: Tensor, grad_c: Tensor) -> tuple[Tensor, ...]:
        """Return the gradients of gates, h, c, recurrent and peephole."""
        h_all, c_all, tanh_c, acts, weight, peephole = ctx.saved_tensors
        back = torch.empty_like(acts)  # gradients of the pre-activations, (T, B, 4, H)
        dh, dc = torch.zeros_like(grad_c), grad_c
        for t in range(len(acts) - 1, -1, -1):
            dh, o = dh + grad_h[t], acts[t, :, 3]
            sigmoid_back(dh * tanh_c[t], o, grad_input=back[t, :, 3])
            dc = dc + tanh_back(dh * o, tanh_c[t])
            dc = _activate_back(dc, acts[t], c_all[t], peephole, back[t])
            dh = product(back[t].flatten(1), weight)
        grad_recurrent = over_steps(back.flatten(2), h_all[:-1], weight.dtype)
        return back.flatten(2), dh, dc, grad_recurrent, _peephole_gradient(back, c_all)


def _activate(a: Tensor, c: Tensor, p: Tensor, act: Tensor, after: Tensor) -> None:
    """Write the activations i, f, g, o (B, 4, H) and the memory after the step (B, H)."""
    torch.sigmoid(torch.addcmul(a[:, :2], p[:2], c[:, None]), out=act[:, :2])
    torch.tanh(a[:, 2], out=act[:, 2])
    torch.addcmul(act[:, 1] * c, act[:, 0], act[:, 2], out=after)
    torch.sigmoid(torch.addcmul(a[:, 3], p[2], after), out=act[:, 3])


def _activate_back(dc: Tensor, act: Tensor, c: Tensor, p: Tensor, back: Tensor) -> Tensor:
    """Write the gradients of i, f, g and return that of the memory before the step (B, H)."""
    i, f, g, _ = act.unbind(1)
    dc = torch.addcmul(dc, back[:, 3], p[2])
    sigmoid_back(dc * g, i, grad_input=back[:, 0])
    sigmoid_back(dc * c, f, grad_input=back[:, 1])
    tanh_back(dc * i, g, grad_input=back[:, 2])
    return torch.addcmul(torch.addcmul(dc * f, back[:, 0], p[0]), back[:, 1], p[1])


def _peephole_gradient(back: Tensor, c_all: Tensor) -> Tensor:
    """Return the gradient of the peepholes (3, H): i and f saw the old memory, o the new."""
    pairs = ((0, c_all[:-1]), (1, c_all[:-1]), (3, c_all[1:]))
    return torch.stack([(back[:, :, block] * c).sum((0, 1)) for block, c in pairs])


class GRUSteps(torch.autograd.Function):
    """All steps of a GRU whose reset gate acts before the recurrent product."""

    @staticmethod
    def forward(ctx: Any, gates: Tensor, h: Tensor, recurrent: Tensor) -> Tensor:
        """Return all h (T, B, H).

        Args:
            ctx: keeps what the backward pass needs.
            gates: W_I x_t + b of all steps, (T, B, 3*H): r, z, n.
            h: state before the first step, (B, H).
            recurrent: W_R, (3*H, H).
        """
        weight, two = recurrent.to(product_type(recurrent)), 2 * h.shape[1]
        h_all, acts = with_start(h, len(gates)), torch.empty_like(gates)
        r, z, n = acts.chunk(3, dim=2)  # (T, B, H) each
        for t, step in enumerate(gates):
            before = h_all[t]
            torch.sigmoid(step[:, :two] + product(before, weight[:two].T), out=acts[t, :, :two])
            torch.tanh(step[:, two:] + product(r[t] * before, weight[two:].T), out=n[t])
            torch.lerp(n[t], before, z[t], out=h_all[t + 1])  # (1 - z) * n + z * h
        ctx.save_for_backward(h_all, acts, weight)
        return h_all[1:]

    @staticmethod
    def backward(ctx: Any, grad_h: Tensor) -> tuple[Tensor, ...]:
        """Return the gradients of gates, h and recurrent."""
        h_all, acts, weight = ctx.saved_tensors
        before, two = h_all[:-1], 2 * h_all.shape[2]
        r, z, n = acts.chunk(3, dim=2)  # (T, B, H) each
        back = torch.empty_like(acts)  # gradients of the pre-activations, (T, B, 3*H)
        dr, dz, dn = back.chunk(3, dim=2)
        dh = torch.zeros_like(h_all[0])
        for t in range(len(acts) - 1, -1, -1):
            dh = dh + grad_h[t]
            kept = dh * z[t]
            tanh_back(dh - kept, n[t], grad_input=dn[t])
            sigmoid_back(dh * (before[t] - n[t]), z[t], grad_input=dz[t])
            inner = product(dn[t], weight[two:])  # the gradient of r * h
            sigmoid_back(inner * before[t], r[t], grad_input=dr[t])
            through = product(back[t, :, :two], weight[:two])
            dh = torch.addcmul(kept + through, inner, r[t])
        of_gates = over_steps(back[:, :, :two], before, weight.dtype)
        of_new = over_steps(dn, r * before, weight.dtype)
        return back, dh, torch.cat([of_gates, of_new])


def with_start(start: Tensor, steps: int) -> Tensor:
    """Return room for a state of all steps, (T + 1, B, H), with its start written."""
    room = start.new_empty(steps + 1, *start.shape)
    room[0] = start
    return room


def product_type(weight: Tensor) -> torch.dtype:
    """Return the type in which products run here: autocast's, or that of the weights."""
    device = weight.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype


def product(x: Tensor, weight: Tensor) -> Tensor:
    """Return x @ weight, computed in the type of the weight, in the type of x."""
    return (x.to(weight.dtype) @ weight).to(x.dtype)


def over_steps(back: Tensor, seen: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the gradient of a weight: the sum over steps and lanes of back^T seen."""
    rows = back.flatten(0, 1).to(dtype)  # (T*B, G*H)
    return (rows.T @ seen.flatten(0, 1).to(dtype)).to(back.dtype)
