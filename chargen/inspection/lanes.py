"""A text cut in lanes that are read side by side, each after what stands before it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chargen.data.corpus import WARM, Corpus

STEPS = 20_480  # tokens that are read at most
LANES = 16
SHORTEST = 4 * WARM  # tokens of a lane, where there is more than one


@dataclass(frozen=True)
class Lanes:
    """The beginning of a validation part, in B lanes of T tokens.

    Attributes:
        tokens: ids (B, WARM + T): those of each lane, and the 256 before them.
        there: where there are such tokens, (B, WARM + T): the text may begin within the 256.
    """

    tokens: NDArray[np.int64]
    there: NDArray[np.bool_]

    @property
    def counted(self) -> NDArray[np.int64]:
        """The tokens of the text itself, in its order, (B * T,)."""
        return self.tokens[:, WARM:].reshape(-1)


def side_by_side(corpus: Corpus, most: int = STEPS, lanes: int = LANES) -> Lanes:
    """Cut the first tokens of a validation part, ``most`` at most, in so many lanes at most."""
    first = len(corpus.context)
    ids = np.concatenate([corpus.context, corpus.validation[:most]]).astype(np.int64)
    lanes = max(1, min(lanes, (len(ids) - first) // SHORTEST))
    length = (len(ids) - first) // lanes
    places = first + np.arange(lanes)[:, None] * length + np.arange(-WARM, length)
    return Lanes(ids[np.maximum(places, 0)], places >= 0)
