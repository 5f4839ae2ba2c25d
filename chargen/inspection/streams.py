"""Streams of a text, read as one batch, each warmed up on the tokens before it.

Legend of shapes: B batch size, T steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chargen.data.dataset import WARM, Segment

STEPS = 20_480  # most tokens of the text
STREAMS = 16
SHORTEST = 4 * WARM  # fewest tokens per stream, if there are several


@dataclass(frozen=True)
class Streams:
    """The beginning of a text, in B streams of T tokens.

    Attributes:
        tokens: ids (B, WARM + T): in each row the 256 tokens before the stream, and the stream.
        there: mask (B, WARM + T), False for positions before the beginning of the text.
    """

    tokens: NDArray[np.int64]
    there: NDArray[np.bool_]

    @property
    def counted(self) -> NDArray[np.int64]:
        """The tokens of the streams without the warm-up, in order, (B * T,)."""
        return self.tokens[:, WARM:].reshape(-1)


def side_by_side(segment: Segment, most: int = STEPS, streams: int = STREAMS) -> Streams:
    """Cut up to ``most`` tokens from the beginning of a text into up to ``streams`` streams."""
    segment = segment.first(most)
    ids, count = segment.with_context, len(segment)
    streams = max(1, min(streams, count // SHORTEST))
    length = count // streams
    starts = len(ids) - count + np.arange(streams)[:, None] * length
    places = starts + np.arange(-WARM, length)
    return Streams(ids[np.maximum(places, 0)], places >= 0)
