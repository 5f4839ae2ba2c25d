"""N-gram embeddings: rows of hashed tables for the last tokens, without torch.

To the embedding of a token are added those of the n-grams that end with it (hash features of
Mikolov et al. 2011, section 5, at the input instead of the output):

::

    x_t = E[c_t] + sum over n = 2..N of E_n[h_n(c_{t-n+1}, ..., c_t)]
    h_n = (sum over j < n of code(c_{t-j}) P^j) mod R_n

No matrix product is added, and what follows a frequent n-gram is learned from a few examples. The
code of a token comes from its text alone, so that a model keeps its rows when its vocabulary grows.
All numbers stay below 2^53: any language computes the same rows.

Legend of shapes: B batch size, T steps, N longest n-gram, K = N - 1 tables.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from chargen.config import require

FACTOR = 1_000_003  # P, a prime
CODES = 1_048_573  # a prime below 2^20; codes are 1 to this number, 0 is "before the text"
MOST_ROWS = 1 << 24
MOST_ORDER = 16


@dataclass(frozen=True)
class NGramConfig:
    """Tables of n-gram embeddings.

    Attributes:
        rows: rows R_n of the table of each order n, from 2 on (K).
        codes: code of each token (V).
    """

    rows: tuple[int, ...]
    codes: tuple[int, ...]

    def __post_init__(self) -> None:
        require(1 <= len(self.rows) < MOST_ORDER, "n-gram tables", len(self.rows), "1 to 15")
        fits = all(type(rows) is int and 1 <= rows <= MOST_ROWS for rows in self.rows)
        require(fits, "rows of n-gram tables", self.rows, f"1 to {MOST_ROWS}")
        known = all(type(code) is int and 1 <= code <= CODES for code in self.codes)
        require(known, "codes of tokens", "these", f"1 to {CODES}")

    @property
    def history(self) -> int:
        """Number of tokens before the current one that the longest n-gram looks back on."""
        return len(self.rows)

    def factors(self) -> list[list[int]]:
        """Return P^j mod R_n for each token of a window, the oldest first, (K + 1, K)."""
        return [
            [pow(FACTOR, back, rows) if back < order else 0 for order, rows in self.orders()]
            for back in range(self.history, -1, -1)
        ]

    def orders(self) -> Iterable[tuple[int, int]]:
        """Return each order and the rows of its table."""
        return enumerate(self.rows, 2)

    def offsets(self) -> list[int]:
        """Return where the table of each order begins in the one that holds all, (K)."""
        return list(itertools.accumulate(self.rows[:-1], initial=0))

    def to_json(self) -> dict[str, Any]:
        """Return plain data from which ``from_json`` makes the same config."""
        return {"rows": list(self.rows), "codes": list(self.codes)}

    @classmethod
    def from_json(cls, data: dict[str, Any] | None) -> NGramConfig | None:
        """Read what ``to_json`` wrote; None is a model without n-grams."""
        return None if data is None else cls(tuple(data["rows"]), tuple(data["codes"]))


def token_codes(pieces: Iterable[bytes]) -> tuple[int, ...]:
    """Return the code of each token: its bytes as one number, modulo a prime, plus 1."""
    return tuple(1 + int.from_bytes(piece) % CODES for piece in pieces)
