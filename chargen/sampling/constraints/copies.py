"""What stands in the training text, in a small file, so that writing can keep away from it.

Each window of W characters of the text sets four bits in one 64-bit word of a table, at places
that its hash gives (a blocked Bloom filter). A window of the text is always found. Another one is
found with a probability of about 1 in 100, at 12 bits a window; so what is forbidden for it is a
little more than what is copied, never less.
"""

from __future__ import annotations

import codecs
import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chargen.errors import CheckpointError, ConfigError
from chargen.sampling.constraints.automata import NEVER, Alphabet, Automaton, Counts, State
from chargen.storage.checkpoint import COPIES, read_tensors, write_tensors

WINDOW = 16  # characters (W)
BITS = 12  # of the table, for each window
CHUNK = 1 << 15  # characters that are hashed at once: what fits a core's cache
BASE = 0x9E3779B97F4A7C15  # odd; of the polynomial in the characters, modulo 2^64
MIX = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)  # of the finalizer of splitmix64 (Steele, 2014)
ALL = (1 << 64) - 1

Hashes = NDArray[np.uint64]


@dataclass(frozen=True, eq=False)
class CopyIndex:
    """The windows of a training text, as a filter.

    Attributes:
        words: the table of bits.
        window: characters of a window (W).
        alphabet: the characters of the text, sorted.
        windows: how many windows went in.
    """

    words: Hashes
    window: int
    alphabet: str
    windows: int

    def holds(self, sums: Hashes) -> NDArray[np.bool_]:
        """Tell of windows, given by their polynomials (N,), which were in the text."""
        words, bits = _places(_mixed(sums), len(self.words))
        found: NDArray[np.bool_] = (self.words[words] & bits) == bits
        return found

    def holds_one(self, total: int) -> bool:
        """Tell the same of one window, in plain numbers: some microseconds faster."""
        for shift, factor in zip((30, 27), MIX, strict=True):
            total = (total ^ (total >> shift)) * factor & ALL
        total ^= total >> 31
        word = int(self.words[(total >> 32) * len(self.words) >> 32])
        return all(word >> (total >> shift & 63) & 1 for shift in (0, 6, 12, 18))

    @property
    def false_positives(self) -> float:
        """The share of other windows that are taken for the text's: expected from its fill."""
        some = self.words[:100_000]  # hashes have spread the windows evenly
        fill = np.unpackbits(some.view(np.uint8)).reshape(-1, 64).mean(1)
        return float((fill**4).mean())


def build_index(pieces: Iterable[str | bytes], length: int, window: int = WINDOW) -> CopyIndex:
    """Read a text in pieces and keep its windows; memory is that of the table.

    Args:
        pieces: the training text, as text or as UTF-8 in bytes, cut anywhere.
        length: its characters (or bytes), by which the size of the table is chosen.
        window: characters of a window (W), from 1.
    """
    words = np.zeros(max(1, length * BITS // 64), np.uint64)
    seen = np.zeros(0x110000, np.bool_)
    count, rest = 0, np.zeros(0, np.uint32)
    for codes in _codes(pieces):
        seen[codes] = True
        joined = np.concatenate([rest, codes])
        sums = polynomials(joined, window)
        _set_bits(words, *_places(_mixed(sums), len(words)))
        count += len(sums)
        rest = joined[max(0, len(joined) - window + 1) :] if window > 1 else rest
    alphabet = "".join(map(chr, np.flatnonzero(seen).tolist()))
    return CopyIndex(words, window, alphabet, count)


def _set_bits(words: Hashes, places: NDArray[np.intp], bits: Hashes) -> None:
    """Set bits at places, of which some may be equal: 12 ns each, ``bitwise_or.at`` takes 40."""
    while len(places):
        words[places] |= bits  # of equal places one wins; the others come again
        lost = (words[places] & bits) != bits
        places, bits = places[lost], bits[lost]


def _codes(pieces: Iterable[str | bytes]) -> Iterator[NDArray[np.uint32]]:
    """Yield code points, some thousands at a time; bytes that are no text count as U+FFFD."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for piece in pieces:
        for start in range(0, len(piece), CHUNK):
            part = piece[start : start + CHUNK]
            text = part if isinstance(part, str) else decoder.decode(part)
            yield np.frombuffer(text.encode("utf-32-le"), "<u4")
    yield np.frombuffer(decoder.decode(b"", final=True).encode("utf-32-le"), "<u4")


def polynomials(codes: NDArray[np.uint32], window: int) -> Hashes:
    """Return sum(codes[i + j] * BASE^(W - 1 - j)) modulo 2^64 of each window i.

    Windows of 2, 4, 8 ... characters come from two halves each; so W costs log2(W) passes.
    """
    if len(codes) < window:
        return np.zeros(0, np.uint64)
    power, size = codes.astype(np.uint64), 1  # of windows of ``size`` characters
    result, done = np.zeros(len(codes) + 1, np.uint64), 0
    while done < window:
        if window & size:  # windows of ``done`` characters, and ``size`` before them
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
    """Return numbers whose every bit depends on all bits."""
    mixed = sums
    for shift, factor in zip((30, 27), MIX, strict=True):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


def _places(hashes: Hashes, count: int) -> tuple[NDArray[np.intp], Hashes]:
    """Return the word of the table and the four bits in it that belong to each hash."""
    words = ((hashes >> np.uint64(32)) * np.uint64(count)) >> np.uint64(32)
    bits = np.zeros_like(hashes)
    for shift in (0, 6, 12, 18):
        bits |= np.uint64(1) << ((hashes >> np.uint64(shift)) & np.uint64(63))
    return words.astype(np.intp), bits


def save_index(run: Path, index: CopyIndex) -> None:
    """Write the index of a run's training text into its folder.

    Raises:
        StorageError: it cannot be written.
    """
    header: dict[str, Any] = {
        "kind": "copies",
        "window": index.window,
        "alphabet": index.alphabet,
        "windows": index.windows,
    }
    write_tensors(run / COPIES, {"words": index.words}, header)


def load_index(run: Path) -> CopyIndex:
    """Read what ``save_index`` wrote.

    Raises:
        ConfigError: the run has none.
        CheckpointError: the file is damaged.
    """
    path = run / COPIES
    if not path.is_file():
        raise ConfigError(
            f"no-copy needs {COPIES} in {str(run)!r}, which is not there; "
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


@functools.lru_cache(maxsize=4096)  # several characters are tried behind each
def _sum(tail: str) -> int:
    """Return the polynomial of a text."""
    total = 0
    for character in tail:
        total = (total * BASE + ord(character)) & ALL
    return total


class NoCopy(Automaton):
    """Texts that never have N characters in a row from the training text.

    N characters in a row of the text are N - W + 1 windows in a row of the index; so many in
    a row are forbidden. A state is the last W - 1 characters and how many windows in a row were
    found up to here. The text may end anywhere; a state in which all that could follow is
    forbidden is simply its end.

    Raises:
        ConfigError: N is below W.
    """

    def __init__(self, index: CopyIndex, n: int, alphabet: Alphabet) -> None:
        if n < index.window:
            raise ConfigError(
                f"no-copy is {n!r}; allowed: {index.window} or more characters, "
                "the window of the run's index"
            )
        self._index = index
        self._limit = n - index.window + 1  # windows in a row, from which on it is a copy
        known = np.array([ord(character) for character in index.alphabet], np.int64)
        in_text = np.isin(alphabet.codes, known)
        super().__init__(alphabet, np.where(in_text, np.cumsum(in_text), 0) - bool(in_text.all()))
        own = alphabet.codes[self.samples]
        self._known = np.isin(own, known)  # (K,)
        self._codes = own.astype(np.uint64)
        self._letters = [alphabet.text[place] for place in self.samples.tolist()]
        self._all = np.ones(len(self.samples), np.int32)

    def start(self, before: str = "") -> State:
        """Return the state after a text, whose end counts as the beginning of a copy."""
        window = self._index.window
        tail, run = "", 0
        for character in before[-(self._limit + window) :]:
            tail, run = self._after(tail, run, character, character in self._index.alphabet)
        return tail, min(run, self._limit - 1)

    def step(self, state: State, kind: int) -> State:
        """Return the state after a character of a class; None if it completes a copy."""
        tail, run = state
        after = self._after(tail, run, self._letters[kind], bool(self._known[kind]))
        return None if after[1] >= self._limit else after

    def _after(self, tail: str, run: int, letter: str, known: bool) -> tuple[str, int]:
        window = self._index.window
        if not known:  # no window of the text has it
            return "", 0
        if len(tail) < window - 1:
            return tail + letter, 0
        total = (_sum(tail) * BASE + ord(letter)) & ALL
        return (tail + letter)[1:], run + 1 if self._index.holds_one(total) else 0

    def distance(self, state: State) -> int:
        """Return 0: the text may end anywhere."""
        return 0

    def needs(self, state: State) -> Counts:
        """Return for each class 1, or NEVER where it completes a copy (K,)."""
        tail, run = state
        if run + 1 < self._limit or len(tail) < self._index.window - 1:
            return self._all.copy()
        sums = np.uint64(_sum(tail) * BASE & ALL) + self._codes
        copied = self._index.holds(sums) & self._known
        return np.where(copied, np.int32(NEVER), self._all)

    def need(self, state: State, kind: int) -> int:
        """Return ``needs(state)[kind]``, without looking at the other classes."""
        return NEVER if self.step(state, kind) is None else 1

    def free(self, state: State) -> int:
        """Return how many characters cannot complete a copy, whatever they are."""
        tail, run = state
        missing = self._index.window - 1 - len(tail)  # characters before there is a window
        return int(missing + self._limit - 1 - run)
