"""Collections: corpora of many texts, each read by itself, and how they are split.

Legend of shapes: R texts of a corpus, S stretches of it, in order: a record is one, and of a file
with a label each part of the corpus has one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from chargen.data.decoding import Piece
from chargen.data.texts import UNLABELLED

Sizes = NDArray[np.int64]
Labels = NDArray[np.int32]


class Split(NamedTuple):
    """To which part of the corpus each stretch of it belongs.

    Attributes:
        lengths: characters of each, or bytes for the byte tokenizer (S,).
        labels: number of the label of each (S,).
        parts: 0 for training, 1 for validation, 2 for test (S,).
    """

    lengths: Sizes
    labels: Labels
    parts: NDArray[np.uint8]

    def of(self, part: int) -> tuple[Sizes, Labels]:
        """Return lengths and labels of the stretches of a part."""
        own = self.parts == part
        return self.lengths[own], self.labels[own]


@dataclass(frozen=True, eq=False)
class Collection:
    """The texts of a corpus: records, or files with labels.

    Attributes:
        lengths: characters of each text with its end, or bytes for the byte tokenizer (R,).
        labels: number of the label of each (R,), ``UNLABELLED`` where it has none.
        names: of the labels, sorted.
        hashes: of each record (R,), by which equal ones are found; they hold in one process only;
            None for files with labels.
        sha256: checksum of lengths and labels.
    """

    lengths: Sizes
    labels: Labels
    names: tuple[str, ...]
    hashes: NDArray[np.int64] | None
    sha256: str

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self.lengths)

    @classmethod
    def of(
        cls, lengths: Sizes, labels: Labels, names: list[str], hashes: NDArray[np.int64] | None
    ) -> Collection:
        """Return texts whose labels are numbered in any order; only records have hashes."""
        order = sorted(names)
        numbers = _places(names, tuple(order))[labels]
        digest = hashlib.sha256(json.dumps(order).encode())
        for array in (lengths.astype("<i8"), numbers.astype("<i4")):
            digest.update(array.data)
        return cls(lengths, numbers, tuple(order), hashes, digest.hexdigest())

    def numbered(self, names: tuple[str, ...]) -> Collection:
        """Return the same texts with labels numbered as in ``names``; others count as none."""
        return replace(self, labels=_places(self.names, names)[self.labels], names=names)

    @property
    def has_records(self) -> bool:
        """Whether each text is whole in one part; otherwise the end of each is held out."""
        return self.hashes is not None

    def split(self, val_frac: float, test_frac: float, seed: int) -> Split:
        """Split the texts: records at random by label, of others the end of each is held out.

        Args:
            val_frac: fraction for validation.
            test_frac: fraction for testing.
            seed: of which records are held out.
        """
        if self.has_records:
            parts = drawn(self.labels, val_frac, test_frac, seed)
            return Split(self.lengths, self.labels, parts)
        return self._by_place(val_frac, test_frac)

    def _by_place(self, val_frac: float, test_frac: float) -> Split:
        fractions = np.array([1.0, val_frac + test_frac, test_frac, 0.0])
        borders = ((1 - fractions) * self.lengths[:, None]).astype(np.int64)  # (R, 4)
        lengths = np.diff(borders).ravel()
        parts = np.tile(np.arange(3, dtype=np.uint8), len(self))
        kept = lengths > 0
        return Split(lengths[kept], np.repeat(self.labels, 3)[kept], parts[kept])

    def repeated(self, split: Split) -> int:
        """Return how many held-out records are in the training part too, word for word."""
        if self.hashes is None:
            return 0
        trained = split.parts == 0
        return int(np.isin(self.hashes[~trained], self.hashes[trained]).sum())

    def sizes(self) -> list[tuple[str, int]]:
        """Return labels and how many texts have each, the largest first."""
        counts = np.bincount(self.labels[self.labels >= 0], minlength=len(self.names))
        pairs = zip(self.names, counts.tolist(), strict=True)
        return sorted(pairs, key=lambda pair: -pair[1])


def _places(names: Iterable[str], known: tuple[str, ...]) -> Labels:
    """Return the place of each name among those known, and behind them that of no label."""
    place = {name: number for number, name in enumerate(known)}
    return np.array([*(place.get(name, UNLABELLED) for name in names), UNLABELLED], np.int32)


def drawn(labels: Labels, val_frac: float, test_frac: float, seed: int) -> NDArray[np.uint8]:
    """Draw records for validation and test: of each label, and of those without one, a fraction.

    A fraction of a label is rounded up or down such that the sum is right; at least one record of
    each stays in the training part, unless all is held out.

    Args:
        labels: number of the label of each record (R,).
        val_frac: fraction for validation.
        test_frac: fraction for testing.
        seed: of the draw.

    Returns:
        0 for training, 1 for validation, 2 for test (R,).
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]  # by label, at random within one
    ends = np.cumsum(np.unique(labels, return_counts=True)[1])
    begins = np.concatenate([[0], ends[:-1]]).astype(np.int64)
    room = np.maximum(0, ends - begins - (val_frac + test_frac < 1))
    validation = np.minimum(_rounded(val_frac, ends), room)
    test = np.minimum(_rounded(test_frac, ends), room - validation)
    parts = np.zeros(len(labels), np.uint8)
    for begin, some, more in zip(begins, validation, test, strict=True):
        parts[order[begin : begin + some]] = 1
        parts[order[begin + some : begin + some + more]] = 2
    return parts


def _rounded(fraction: float, ends: Sizes) -> Sizes:
    """Return a fraction of each of some adjacent ranges, such that their sum is right."""
    borders = np.floor(fraction * ends + 0.5).astype(np.int64)
    parts: Sizes = np.diff(borders, prepend=0)
    return parts


def borders_of(lengths: Sizes) -> Sizes:
    """Return where each of some texts (R,) begins, and the end of the last (R+1,)."""
    borders = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=borders[1:])
    return borders


def part_of(read: Callable[[], Iterable[Piece]], split: Split, part: int) -> Iterator[Piece]:
    """Yield what belongs to one part of a corpus; it is read to its end.

    Args:
        read: returns the pieces of the corpus.
        split: of it.
        part: 0 for training, 1 for validation, 2 for test.
    """
    begins, ends = _runs(split, part)
    position = 0
    for piece in read() if len(begins) else ():
        stop = position + len(piece)
        first, last = np.searchsorted(ends, position, "right"), np.searchsorted(begins, stop)
        inside = (np.array([begins[first:last], ends[first:last]]) - position).clip(0, len(piece))
        taken: list[Any] = [piece[begin:end] for begin, end in inside.T.tolist()]
        position = stop
        if taken:
            yield "".join(taken) if isinstance(piece, str) else b"".join(taken)


def _runs(split: Split, part: int) -> tuple[Sizes, Sizes]:
    """Return where adjacent stretches of a part begin and end, in characters or bytes."""
    inside = np.zeros(len(split.parts) + 2, np.bool_)
    np.equal(split.parts, part, out=inside[1:-1])
    change = np.flatnonzero(inside[1:] != inside[:-1])
    borders = borders_of(split.lengths)
    return borders[change[::2]], borders[change[1::2]]
