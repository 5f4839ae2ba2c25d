"""Groups: what of a text is read side by side.

One text is read from beginning to end, or, which is quick, in streams. Where a segment consists of
texts that are read each by itself, texts of about the same length are read side by side, each from
the initial state and the token before it.

Legend of shapes: B rows, T steps, N tokens of a segment, R texts in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chargen.data.dataset import WARM, Segment
from chargen.data.texts import Texts
from chargen.tokenizers import Ids

STREAMS = 32  # rows of one text
ROWS = 256  # texts side by side, at most
PADDED = 1 << 20  # tokens of a group, padding included, unless one text is longer
FEW = 64  # texts, up to which a part of a segment has something of each
LARGEST = 8  # one text is one in so many tokens of a part, at most
SEED = 1  # of which texts a part has

Numbers = NDArray[np.int64]


class Group(NamedTuple):
    """Rows that are read side by side from the initial state.

    Attributes:
        tokens: (B, T+1), padded at the end.
        places: of each token but the first in the segment (B, T); negative where it is not scored.
        labels: number of the label of each row (B,), -1 for none; None for one text.
    """

    tokens: Numbers
    places: Numbers
    labels: NDArray[np.int32] | None = None

    @property
    def scored(self) -> NDArray[np.bool_]:
        """Which tokens but the first are scored (B, T)."""
        return self.places >= 0


def in_one_pass(segment: Segment) -> Iterator[Group]:
    """Yield one text as one row, after its context, or texts in groups."""
    if segment.texts is None:
        ids = segment.with_context
        yield Group(ids[None], np.arange(1, len(ids))[None] - (len(ids) - len(segment)))
    else:
        yield from _texts(segment.ids, segment.texts)


def in_streams(segment: Segment, limit: int | None = None) -> tuple[Segment, Iterator[Group]]:
    """Return what is read, and one text as one group of warmed streams, or texts in groups.

    Args:
        segment: what to score.
        limit: score about this many tokens only, spread evenly.
    """
    if segment.texts is not None:
        segment = segment if limit is None else spread(segment, limit)
        return segment, in_one_pass(segment)
    ids, count = segment.with_context, len(segment)
    first, stride = len(ids) - count, -(-count // STREAMS)
    length = stride if limit is None else max(1, min(stride, limit // STREAMS))
    warm = min(WARM, first - 1)
    starts = np.arange(first, len(ids), stride)  # (B,) the first target of each stream
    offsets = np.arange(-1 - warm, length)
    places = starts[:, None] + offsets  # (B, warm + length + 1)
    tokens = ids[np.minimum(places, len(ids) - 1)]
    scored = (places < len(ids)) & (offsets >= 0)
    return segment, iter([Group(tokens, np.where(scored, places - first, -1)[:, 1:])])


def spread(segment: Segment, limit: int) -> Segment:
    """Return so many tokens of a segment at most: its beginning, or texts drawn at random.

    The same texts each time. Of few texts, it is the beginning of each.
    """
    texts = segment.texts
    if texts is None or len(segment) <= limit:
        return segment.first(limit)
    longest = limit // (len(texts) if len(texts) <= FEW else LARGEST)
    order = np.random.default_rng(SEED).permutation(len(texts))
    lengths = np.minimum(texts.lengths, max(1, longest))
    kept = np.sort(order[np.cumsum(lengths[order]) <= limit])
    return part_of(segment, kept, lengths[kept])


def part_of(segment: Segment, texts: Numbers, lengths: Numbers) -> Segment:
    """Return the beginnings of some texts of a segment, by their numbers and lengths (R,)."""
    assert segment.texts is not None
    own = segment.texts
    ids, borders = gathered(segment.ids, own.borders[texts], lengths)
    fraction = len(ids) / max(1, len(segment))
    return replace(
        segment,
        ids=ids,
        characters=round(segment.characters * fraction),
        bytes=round(segment.bytes * fraction),
        texts=Texts(borders, own.labels[texts], own.before),
    )


def gathered(ids: Ids, starts: Numbers, lengths: Numbers) -> tuple[Ids, Numbers]:
    """Return pieces of ids one after another, and their borders (R+1,)."""
    borders = np.concatenate([[0], np.cumsum(lengths)])
    places = np.arange(borders[-1]) + np.repeat(starts - borders[:-1], lengths)
    return ids[places], borders


def _texts(ids: Ids, texts: Texts) -> Iterator[Group]:
    """Yield texts in groups, the longest first; in each the shortest has half of the longest."""
    order = np.argsort(-texts.lengths, kind="stable")
    lengths, start = texts.lengths[order], 0
    while start < len(order) and lengths[start]:
        longest = int(lengths[start])
        end = start + max(1, min(ROWS, PADDED // longest))
        end = min(end, int(np.searchsorted(-lengths, -longest / 2, "right")))
        yield _group(ids, texts, order[start:end])
        start = end


def _group(ids: Ids, texts: Texts, own: Numbers) -> Group:
    starts, lengths = texts.borders[own], texts.lengths[own]
    steps = np.arange(lengths.max())
    places = np.where(steps < lengths[:, None], starts[:, None] + steps, -1)  # (B, T)
    tokens = np.concatenate([np.full((len(own), 1), texts.before), ids[places]], axis=1)
    return Group(tokens.astype(np.int64), places, texts.labels[own])
