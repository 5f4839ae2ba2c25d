"""Mixing with what came before, h_t = k_t * h_{t-1} + (1 - k_t) * g_t, parallel over time.

A step of the linear recurrence h_t = a_t * h_{t-1} + b_t maps h to a*h + b, and two such maps
one after the other are again such a map, a2*a1*h + (a2*b1 + b2): the recurrence is a scan of
an associative operation (Blelloch 1990). Here T steps are cut in C blocks of L. All blocks
walk their L steps side by side from a zero state, keeping the products of a; then the state is
carried over the C blocks; then one pass over everything adds what came in. That is C + L
operations one after the other instead of T, and the work grows by a constant, where doubling
takes log2(T) passes over all of it.

The products are of numbers in (0, 1): they can only fade to zero, which is right, so that no
logarithm is needed to keep them in range.

Legend of shapes: B lanes (batch), T steps, H hidden units. Time first.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import torch
from torch import Tensor

from chargen.model.cells.bptt import sigmoid_back


class Mixture(torch.autograd.Function):
    """h_t = k_t * h_{t-1} + (1 - k_t) * g_t for all steps, with k = sigma(odds)."""

    @staticmethod
    def forward(ctx: Any, odds: Tensor, g: Tensor, start: Tensor) -> Tensor:
        """Return all h (T, B, H) for odds and g (T, B, H), from h_{-1} = start (B, H)."""
        k = torch.sigmoid(odds)
        h = scan(k, torch.addcmul(g, k, g, value=-1), start)
        ctx.save_for_backward(k, g, h, start)
        return h

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients of odds, g and start.

        What leaves step t for the one before, e_t = k_t * (grad_t + e_{t+1}), is the same
        recurrence, backwards.
        """
        k, g, h, start = ctx.saved_tensors
        e = scan(k, k * grad, torch.zeros_like(start), backwards=True)
        d = grad.clone()  # of h_t
        d[:-1] += e[1:]
        seen = g.neg()  # h_{t-1} - g_t
        seen[0] += start
        seen[1:] += h[:-1]
        return sigmoid_back(seen.mul_(d), k), d.sub_(e), e[0]


def scan(a: Tensor, b: Tensor, start: Tensor, *, backwards: bool = False) -> Tensor:
    """Return all h (T, B, H) of h_t = a_t * h_{t-1} + b_t, from h_{-1} = start (B, H).

    Backwards it is h_t = a_t * h_{t+1} + b_t, from h_T = start.
    """
    length = block_length(len(a))
    a, b = (v.reshape(-1, length, *start.shape) for v in (a, b))  # (C, L, B, H)
    blocks, steps = range(len(a)), range(length)
    if backwards:
        blocks, steps = blocks[::-1], steps[::-1]
    h, kept = torch.empty_like(b), torch.empty_like(a)
    h[:, steps[0]], kept[:, steps[0]] = b[:, steps[0]], a[:, steps[0]]
    for before, step in itertools.pairwise(steps):
        torch.addcmul(b[:, step], a[:, step], h[:, before], out=h[:, step])
        torch.mul(a[:, step], kept[:, before], out=kept[:, step])
    coming = torch.empty_like(h[:, 0])  # (C, B, H) the state before each block
    for block in blocks:
        coming[block] = start
        start = torch.addcmul(h[block, steps[-1]], kept[block, steps[-1]], start)
    return h.addcmul_(kept, coming[:, None]).flatten(0, 1)


def block_length(steps: int) -> int:
    """Return the largest divisor of a number of steps that is not above its square root."""
    return next(n for n in range(math.isqrt(steps), 0, -1) if steps % n == 0)
