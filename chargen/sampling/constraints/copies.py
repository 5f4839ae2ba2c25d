"""Index of the training text, to detect copies: a blocked Bloom filter of its windows.

Each window of W characters sets four bits in one 64-bit word of a table, chosen by its hash. A
window of the text is always found. Another one is found with a probability of about 1 in 100, at
12 bits per window, so that a little more than copies is forbidden, never less.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chargen.errors import CheckpointError, ConfigError
from chargen.storage.checkpoint import COPIES, read_tensors, write_tensors

WINDOW = 16  # characters (W)
BITS = 12  # of the table, per window
CHUNK = 1 << 15  # characters hashed at once: they fit the cache of a core
BASE = 0x9E3779B97F4A7C15  # of the polynomial in the characters, modulo 2^64; an odd number
MIX = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)  # of the finalizer of splitmix64 (Steele, 2014)
ALL = (1 << 64) - 1

Hashes = NDArray[np.uint64]


@dataclass(frozen=True, eq=False)
class CopyIndex:
    """Bloom filter of the windows of a training text.

    Attributes:
        words: the table of bits.
        window: characters of a window (W).
        alphabet: the characters of the text, sorted.
        windows: number of windows in the table.
    """

    words: Hashes
    window: int
    alphabet: str
    windows: int

    def contains(self, sums: Hashes) -> NDArray[np.bool_]:
        """Return which windows, given by their polynomials (N,), are found."""
        words, bits = _bits_of(_mixed(sums), len(self.words))
        found: NDArray[np.bool_] = (self.words[words] & bits) == bits
        return found

    def contains_one(self, total: int) -> bool:
        """Return the same for one window, in plain integers: some microseconds faster."""
        for shift, factor in zip((30, 27), MIX, strict=True):
            total = (total ^ (total >> shift)) * factor & ALL
        total ^= total >> 31
        word = int(self.words[(total >> 32) * len(self.words) >> 32])
        return all(word >> (total >> shift & 63) & 1 for shift in (0, 6, 12, 18))

    @property
    def false_positives(self) -> float:
        """Expected fraction of other windows that are found, from the fill of the table."""
        some = self.words[:100_000]  # hashes spread the windows evenly
        fill = np.unpackbits(some.view(np.uint8)).reshape(-1, 64).mean(1)
        return float((fill**4).mean())


def build_index(pieces: Iterable[str | bytes], length: int, window: int = WINDOW) -> CopyIndex:
    """Build the index of a text, in the memory of its table.

    Args:
        pieces: the training text, as text or as UTF-8 bytes, cut anywhere.
        length: characters (or bytes) of the text, which determine the size of the table.
        window: characters of a window (W), 1 or more.
    """
    words = np.zeros(max(1, length * BITS // 64), np.uint64)
    seen = np.zeros(0x110000, np.bool_)
    count, rest = 0, np.zeros(0, np.uint32)
    for codes in _codes(pieces):
        seen[codes] = True
        joined = np.concatenate([rest, codes])
        sums = polynomials(joined, window)
        _set_bits(words, *_bits_of(_mixed(sums), len(words)))
        count += len(sums)
        rest = joined[max(0, len(joined) - window + 1) :] if window > 1 else rest
    alphabet = "".join(map(chr, np.flatnonzero(seen).tolist()))
    return CopyIndex(words, window, alphabet, count)


def _set_bits(words: Hashes, indices: NDArray[np.intp], bits: Hashes) -> None:
    """Set bits in words, some of them equal ones: 12 ns each; ``bitwise_or.at`` takes 40."""
    while len(indices):
        words[indices] |= bits  # of equal indices one wins; the others are repeated
        lost = (words[indices] & bits) != bits
        indices, bits = indices[lost], bits[lost]


def _codes(pieces: Iterable[str | bytes]) -> Iterator[NDArray[np.uint32]]:
    """Yield code points, some thousands at a time; invalid bytes count as U+FFFD."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for piece in pieces:
        for start in range(0, len(piece), CHUNK):
            part = piece[start : start + CHUNK]
            text = part if isinstance(part, str) else decoder.decode(part)
            yield np.frombuffer(text.encode("utf-32-le"), "<u4")
    yield np.frombuffer(decoder.decode(b"", final=True).encode("utf-32-le"), "<u4")


def polynomials(codes: NDArray[np.uint32], window: int) -> Hashes:
    """Return sum(codes[i + j] * BASE^(W - 1 - j)) modulo 2^64 of each window i.

    Windows of 2, 4, 8 ... characters are made of two halves each, in log2(W) passes.
    """
    if len(codes) < window:
        return np.zeros(0, np.uint64)
    power, size = codes.astype(np.uint64), 1  # of windows of ``size`` characters
    result, done = np.zeros(len(codes) + 1, np.uint64), 0
    while done < window:
        if window & size:  # ``size`` characters before windows of ``done``
            count = len(codes) - done - size + 1
            shift = np.uint64(pow(BASE, done, 1 << 64))
            result = power[:count] * shift + result[size : size + count]
            done += size
        if done == window:
            break
        count = max(0, len(power) - size)
        power = power[:count] * np.uint64(pow(BASE, size, 1 << 64)) + power[size : size + count]
        size *= 2
    return result


def _mixed(sums: Hashes) -> Hashes:
    """Return hashes in which every bit depends on all bits of a polynomial."""
    mixed = sums
    for shift, factor in zip((30, 27), MIX, strict=True):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


def _bits_of(hashes: Hashes, count: int) -> tuple[NDArray[np.intp], Hashes]:
    """Return the index of a word of the table and its four bits, for each hash (N,)."""
    words = ((hashes >> np.uint64(32)) * np.uint64(count)) >> np.uint64(32)
    bits = np.zeros_like(hashes)
    for shift in (0, 6, 12, 18):
        bits |= np.uint64(1) << ((hashes >> np.uint64(shift)) & np.uint64(63))
    return words.astype(np.intp), bits


def save_index(run: Path, index: CopyIndex) -> None:
    """Save the index of a run's training text in its folder.

    Raises:
        StorageError: the file cannot be written.
    """
    header: dict[str, Any] = {
        "kind": "copies",
        "window": index.window,
        "alphabet": index.alphabet,
        "windows": index.windows,
    }
    write_tensors(run / COPIES, {"words": index.words}, header)


def load_index(run: Path | None) -> CopyIndex:
    """Load the index of a run's training text.

    Raises:
        ConfigError: the run has none.
        CheckpointError: the file is damaged.
    """
    path = (run or Path()) / COPIES
    if run is None or not path.is_file():
        raise ConfigError(
            f"no-copy needs {COPIES} in {str(path.parent)!r}, which is not there; "
            "train with --copy-index to have it"
        )
    tensors, header = read_tensors(path, "copies")
    try:
        words = tensors["words"]
        index = CopyIndex(words, header["window"], header["alphabet"], header["windows"])
    except KeyError:
        index = None
    if index is None or words.dtype != np.uint64 or words.ndim != 1 or not len(words):
        raise CheckpointError(f"{str(path)!r} is damaged: it holds no index; train again")
    return index
