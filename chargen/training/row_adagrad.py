"""Optimizer of the n-gram embeddings: Adagrad with one number per row, for sparse gradients.

Of the many rows a step touches few, and rare ones must learn from few touches. Adagrad (Duchi et
al. 2011) divides each step by the root of all squared gradients so far; here one sum serves a row,

::

    s_r <- s_r + mean(g_r^2);  E_r <- E_r - rate g_r / sqrt(s_r)

Rows that are not touched cost nothing. Legend of shapes: R rows, N of them touched, E embedding.
"""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = 1e-10
TABLE_RATE = 0.1  # where the other weights have the learning rate of their cell


class RowAdagrad:
    """Adagrad by rows.

    Args:
        weight: the table (R, E), whose gradient is sparse.

    Attributes:
        sums: of the squared gradients of each row (R).
    """

    def __init__(self, weight: Tensor) -> None:
        self._weight = weight
        self.sums = weight.new_zeros(len(weight)).detach()

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Move the rows that have a gradient, and drop the gradient."""
        if self._weight.grad is None:
            return
        gradient = self._weight.grad.coalesce()
        rows, g = gradient.indices(), gradient.values()  # (1, N), (N, E)
        self.sums.index_add_(0, rows[0], g.square().mean(dim=1))
        scale = rate / (self.sums[rows[0]].sqrt() + EPSILON)
        step = torch.sparse_coo_tensor(
            rows, g * scale[:, None], gradient.shape, is_coalesced=True, check_invariants=False
        )
        self._weight.sub_(step)  # three times as fast as index_add_
        self._weight.grad = None
