"""Parallel scan for the recurrence h_t = k_t * h_{t-1} + (1 - k_t) * g_t of the minimal cells.

A step of the linear recurrence h_t = a_t * h_{t-1} + b_t maps h to a*h + b. The composition of two
such maps is again such a map, a2*a1*h + (a2*b1 + b2), so the recurrence is a scan of an associative
operation (Blelloch 1990). Here T steps are divided into C blocks of L steps. First all blocks
compute their L steps in parallel from a zero state, together with the products of a. Then the state
is propagated through the C blocks. Finally one operation over all steps adds the contribution of
the state before each block. This takes C + L sequential operations instead of T, with a constant
factor more work; a scan by doubling would go over all data log2(T) times.

The factors lie in (0, 1), so their products can only fade to zero, which is the right limit. No
logarithms are needed to keep them in range.

Legend of shapes: B batch size, T steps, H hidden units. Time first.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import torch
from torch import Tensor

from chargen.model.cells.bptt import sigmoid_back


class Mixture(torch.autograd.Function):
    """h_t = k_t * h_{t-1} + (1 - k_t) * g_t for all steps, with k = sigma(logit)."""

    @staticmethod
    def forward(ctx: Any, logit: Tensor, g: Tensor, start: Tensor) -> Tensor:
        """Return all h (T, B, H) for logit and g (T, B, H), from h_{-1} = start (B, H)."""
        k = torch.sigmoid(logit)
        h = scan(k, torch.addcmul(g, k, g, value=-1), start)
        ctx.save_for_backward(k, g, h, start)
        return h

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients of logit, g and start.

        The gradient that step t passes to the step before, e_t = k_t * (grad_t + e_{t+1}), follows
        the same recurrence, backwards.
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
    h, decay = torch.empty_like(b), torch.empty_like(a)  # decay: products of a in each block
    h[:, steps[0]], decay[:, steps[0]] = b[:, steps[0]], a[:, steps[0]]
    for before, step in itertools.pairwise(steps):
        torch.addcmul(b[:, step], a[:, step], h[:, before], out=h[:, step])
        torch.mul(a[:, step], decay[:, before], out=decay[:, step])
    coming = torch.empty_like(h[:, 0])  # (C, B, H) the state before each block
    for block in blocks:
        coming[block] = start
        start = torch.addcmul(h[block, steps[-1]], decay[block, steps[-1]], start)
    return h.addcmul_(decay, coming[:, None]).flatten(0, 1)


def block_length(steps: int) -> int:
    """Return the largest divisor of a number of steps that is at most its square root."""
    return next(n for n in range(math.isqrt(steps), 0, -1) if steps % n == 0)
