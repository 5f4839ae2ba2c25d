"""N-gram embeddings in torch (``ngrams``): rows of all orders in one table.

Legend of shapes: B batch size, T steps, K tables, R rows of all tables, E embedding.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag

from chargen.model.ngrams import NGramConfig

Dropout = Callable[[Tensor], tuple[Tensor, float]]
"""Takes the rows (B, T, K); returns which of them are kept, and the factor on their sum."""


class NGramEmbedding(nn.Module):
    """Sum of the embeddings of the n-grams that end with each token.

    The rows start at zero. Their gradient is sparse: a step touches the rows of its batch only.

    Args:
        config: orders, rows and codes.
        width: of the token embedding (E).
    """

    factors: Tensor
    sizes: Tensor
    offsets: Tensor
    codes: Tensor

    def __init__(self, config: NGramConfig, width: int) -> None:
        super().__init__()
        self.history = config.history
        rows = sum(config.rows)
        zeros = torch.zeros(rows, width)
        self.table = nn.Embedding(rows, width, sparse=True, _weight=zeros)
        constants = {
            "codes": config.codes,
            "sizes": config.rows,
            "factors": config.factors(),
            "offsets": config.offsets(),
        }
        for name, values in constants.items():
            self.register_buffer(name, torch.tensor(values), persistent=False)

    def init_state(self, batch: int) -> tuple[Tensor]:
        """Return the codes of the tokens before the beginning of a text: zeros, (1, B, K)."""
        return (self.table.weight.new_zeros(1, batch, self.history),)

    def rows(self, ids: Tensor, history: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rows (B, T, K) of the n-grams that end with each of ids (B, T).

        Args:
            ids: tokens.
            history: codes of the K tokens before, (1, B, K).

        Returns:
            the rows, and the codes of the last K tokens, (1, B, K).
        """
        codes = torch.cat([history[0].long(), self.codes[ids]], dim=1)  # (B, K + T)
        windows = codes.unfold(1, self.history + 1, 1)  # (B, T, K + 1)
        sums = (windows[..., None] * self.factors).sum(dim=2)  # (B, T, K)
        return sums % self.sizes + self.offsets, codes[None, :, -self.history :].float()

    def forward(
        self, ids: Tensor, history: Tensor, dropout: Dropout | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the sum of the embeddings (B, T, E), and the last codes, as ``rows``.

        Args:
            ids: tokens (B, T).
            history: codes of the K tokens before, (1, B, K).
            dropout: of rows, in training.
        """
        rows, history = self.rows(ids, history)
        kept, factor = dropout(rows) if dropout else (torch.ones_like(rows, dtype=torch.bool), 1.0)
        counts = kept.sum(dim=2).flatten()  # (B T)
        sums = embedding_bag(
            rows[kept], self.table.weight, counts.cumsum(0) - counts, mode="sum", sparse=True
        )
        return factor * sums.view(*ids.shape, -1), history  # (B, T, E)
