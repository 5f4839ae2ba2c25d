"""The linear recurrence h_t = a_t * h_{t-1} + b_t, parallel over time.

One step maps h to a*h + b, and two such maps one after the other are again such a map,
a2*a1*h + (a2*b1 + b2): the recurrence is a scan of an associative operation (Blelloch 1990).
Here T steps are cut in C blocks of L. Within the blocks all C walk their L steps side by side
from a zero state, keeping the products of a; then the state is carried over the C blocks; then
one pass over everything adds what came in. C + L short loops instead of T, and the work grows
by a constant, where doubling would do log2(T) passes over all of it.

The products are of numbers in (0, 1): they can only fade to zero, which is right, so that no
logarithm is needed to keep them in range.

Legend of shapes: B lanes (batch), T steps, H hidden units. Time first.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


class LinearRecurrence(torch.autograd.Function):
    """h_t = a_t * h_{t-1} + b_t for all steps; its backward pass is one more such scan."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, start: Tensor) -> Tensor:
        """Return all h (T, B, H) for a and b (T, B, H), from h_{-1} = start (B, H)."""
        h = scan(a, b, start)
        ctx.save_for_backward(a, h, start)
        return h

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients of a, b and start.

        What reaches h_t is d_t = grad_t + a_{t+1} * d_{t+1}: the same recurrence, backwards.
        """
        a, h, start = ctx.saved_tensors
        later = torch.cat([a[1:], torch.zeros_like(a[:1])])  # a_{t+1}
        d = scan(later.flip(0), grad.flip(0), torch.zeros_like(start)).flip(0)
        before = torch.cat([start[None], h[:-1]])  # h_{t-1}
        return d * before, d, a[0] * d[0]


def scan(a: Tensor, b: Tensor, start: Tensor) -> Tensor:
    """Return all h (T, B, H) of h_t = a_t * h_{t-1} + b_t, from h_{-1} = start (B, H)."""
    length = block_length(len(a))
    a, b = (v.reshape(-1, length, *start.shape) for v in (a, b))  # (C, L, B, H)
    h, kept = torch.empty_like(b), torch.empty_like(a)
    h[:, 0], kept[:, 0] = b[:, 0], a[:, 0]
    for step in range(1, length):
        torch.addcmul(b[:, step], a[:, step], h[:, step - 1], out=h[:, step])
        torch.mul(a[:, step], kept[:, step - 1], out=kept[:, step])
    coming = torch.empty_like(h[:, 0])  # (C, B, H) the state before each block
    for block in range(len(h)):
        coming[block] = start
        start = torch.addcmul(h[block, -1], kept[block, -1], start)
    return h.addcmul_(kept, coming[:, None]).flatten(0, 1)


def block_length(steps: int) -> int:
    """Return the largest divisor of a number of steps that is not above its square root."""
    return next(n for n in range(math.isqrt(steps), 0, -1) if steps % n == 0)
