"""What a text costs those who know no network: counting, compressors, and plain chance."""

from __future__ import annotations

import bz2
import lzma
import math
import zlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from chargen.data.corpus import Corpus
from chargen.evaluation.ngram import KneserNey
from chargen.evaluation.protocols import Floats
from chargen.tokenizers import Ids, Tokenizer

COUNTED = 1 << 21  # tokens that are counted at most
LONGEST = 9  # tokens of the longest n-gram
PACKABLE = 1000  # bytes, below which a compressor's rounding says more than the text
PACKED = 1 << 23  # tokens before a text that a compressor is shown at most

COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "xz": lambda data: lzma.compress(data, preset=9),
    "bzip2": lambda data: bz2.compress(data, 9),
    "gzip": lambda data: zlib.compress(data, 9),  # without the header that gzip adds
}


def counted(learned: Ids, measured: Corpus) -> list[Floats]:
    """Return -ln P of each token of a validation part by counting, (N,), for orders 1, 2, ...

    Args:
        learned: the text that is counted; of a very long one, its end.
        measured: the text that is scored. Contexts reach back over its beginning.
    """
    model = KneserNey(learned[-COUNTED:].astype(np.int64), measured.tokenizer.vocab_size, LONGEST)
    before = measured.context[-LONGEST:]
    ids = np.concatenate([before, measured.validation]).astype(np.int64)
    return model.costs(ids, len(before))


def best_order(costs: list[Floats], tokens: slice = slice(None)) -> int:
    """Return the order, 1 for single tokens, whose costs are lowest."""
    return 1 + min(range(len(costs)), key=lambda n: float(costs[n][tokens].sum()))


def uniform(measured: Corpus) -> Floats:
    """Return -ln P of each token if all were equally likely, (N,)."""
    return np.full(len(measured.validation), math.log(measured.tokenizer.vocab_size))


def packed(learned: Ids, measured: Corpus) -> dict[str, float]:
    """Return what a text costs each compressor that has seen the learned one before, in nats.

    It is the size of both together less that of the learned text alone; of a very long
    learned text only the end is shown. A very short text gets no figures. Unknown characters
    all stand as U+FFFD, which is a little in the compressors' favour.
    """
    tokenizer = measured.tokenizer
    before = _bytes(tokenizer, learned[-PACKED:])
    text = _bytes(tokenizer, measured.validation)
    if len(text) < PACKABLE:
        return {}
    return {
        name: (len(compress(before + text)) - len(compress(before))) * 8 * math.log(2)
        for name, compress in COMPRESSORS.items()
    }


def mixed(first: Floats, second: Floats, weight: float) -> Floats:
    """Return -ln(w P1 + (1 - w) P2) of each token, from -ln P1 and -ln P2, (N,)."""
    with np.errstate(divide="ignore"):
        parts = np.log(weight) - first, np.log1p(-weight) - second
    costs: Floats = -np.logaddexp(*parts)
    return costs


def best_weight(first: Floats, second: Floats) -> float:
    """Return the weight of the first, in hundredths, with which a mixture costs least."""
    low, high = 0, 100  # the cost is convex in the weight
    while low < high:
        middle = (low + high) // 2
        costs = [float(mixed(first, second, w / 100).sum()) for w in (middle, middle + 1)]
        low, high = (low, middle) if costs[0] <= costs[1] else (middle + 1, high)
    return low / 100


def _bytes(tokenizer: Tokenizer, ids: NDArray[np.integer]) -> bytes:
    return b"".join([tokenizer.pieces[i] for i in ids.tolist()])
