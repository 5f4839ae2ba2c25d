"""Texts of a corpus that are read each by itself: records, or files with labels.

Legend of shapes: N tokens of a part of the corpus, R texts in it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

UNLABELLED = -1


@dataclass(frozen=True)
class Texts:
    """Where the texts of a part begin, and their labels.

    Attributes:
        borders: place of the first token of each text among the ids of the part, and the end
            (R+1,).
        labels: number of the label of each text (R,), ``UNLABELLED`` where it has none.
        before: token that is read before each text: the end of a record, or a newline.
        are_records: whether each ends with that token; others may do so by chance.
    """

    borders: NDArray[np.int64]
    labels: NDArray[np.int32]
    before: int
    are_records: bool = False

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self.labels)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each text (R,)."""
        return np.diff(self.borders)

    def first(self, count: int) -> Texts:
        """Return the texts of the first tokens of the part, the last of them cut."""
        kept = int(np.searchsorted(self.borders[:-1], count))
        borders = np.minimum(self.borders[: kept + 1], count)
        return replace(self, borders=borders, labels=self.labels[:kept])

    def last(self, count: int) -> Texts:
        """Return the texts of the last tokens of the part, the first of them cut."""
        left_out = max(0, int(self.borders[-1]) - count)
        at = int(np.searchsorted(self.borders[1:], left_out, "right"))
        borders = np.maximum(self.borders[at:] - left_out, 0)
        return replace(self, borders=borders, labels=self.labels[at:])
