"""A text cut in streams that are read side by side, each after what stands before it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chargen.data.dataset import WARM, Segment

STEPS = 20_480  # tokens that are read at most
STREAMS = 16
SHORTEST = 4 * WARM  # tokens of a stream, where there is more than one


@dataclass(frozen=True)
class Streams:
    """The beginning of a text, in B streams of T tokens.

    Attributes:
        tokens: ids (B, WARM + T): those of each stream, and the 256 before them.
        there: where there are such tokens, (B, WARM + T): the text may begin within the 256.
    """

    tokens: NDArray[np.int64]
    there: NDArray[np.bool_]

    @property
    def counted(self) -> NDArray[np.int64]:
        """The tokens of the text itself, in its order, (B * T,)."""
        return self.tokens[:, WARM:].reshape(-1)


def side_by_side(segment: Segment, most: int = STEPS, streams: int = STREAMS) -> Streams:
    """Cut the first tokens of a text, ``most`` at most, in so many streams at most."""
    segment = segment.first(most)
    ids, count = segment.with_context, len(segment)
    streams = max(1, min(streams, count // SHORTEST))
    length = count // streams
    starts = len(ids) - count + np.arange(streams)[:, None] * length
    places = starts + np.arange(-WARM, length)
    return Streams(ids[np.maximum(places, 0)], places >= 0)
