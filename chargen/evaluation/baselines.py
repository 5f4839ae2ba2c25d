"""Baselines without a network: n-grams (Kneser-Ney), compressors, chance."""

from __future__ import annotations

import bz2
import lzma
import math
import zlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chargen.data.dataset import Dataset, Segment
from chargen.data.texts import Texts
from chargen.evaluation.groups import spread
from chargen.evaluation.ngram import KneserNey
from chargen.evaluation.nll import Floats
from chargen.evaluation.protocols import Score, TokenLosses, score
from chargen.model.counts import NGramCounts
from chargen.model.label_counts import MOST, LabelCounts
from chargen.tokenizers import Ids, Tokenizer

COUNTED = 1 << 22  # tokens that are counted at most
LONGEST = 9  # tokens of the longest n-gram
OF_LABELS = 6  # of the longest of a label: fewer tell labels better, more write better
USUAL = 6  # tokens of the longest n-gram where no validation text tells
PACKABLE = 1000  # bytes, below which a compressor's rounding says more than the text
PACKED = 1 << 23  # tokens before a text that a compressor is shown at most

COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "xz": lambda data: lzma.compress(data, preset=9),
    "bzip2": lambda data: bz2.compress(data, 9),
    "gzip": lambda data: zlib.compress(data, 9),  # without the header that gzip adds
}


def count(
    learned: Ids, tokenizer: Tokenizer, most: int = COUNTED, texts: Texts | None = None
) -> KneserNey:
    """Count the n-grams of a text; of a very long one, of its end.

    Args:
        learned: the text (N,).
        tokenizer: of its ids.
        most: tokens that are counted at most.
        texts: of which it consists, if each is read by itself; of very many, some are counted.
    """
    if texts is None:
        return KneserNey(learned[-most:].astype(np.int64), tokenizer.vocab_size, LONGEST)
    part = spread(Segment(tokenizer, learned, learned[:0], 0, texts=texts), most)
    return KneserNey(part.ids.astype(np.int64), tokenizer.vocab_size, LONGEST, part.texts)


def counts_to_mix(dataset: Dataset, tokens: int, order: int) -> NGramCounts:
    """Return the counts that are mixed with a network, those of each label among them.

    Args:
        dataset: the text.
        tokens: of the training part that are counted at most.
        order: of the n-grams.
    """
    model = count(dataset.train, dataset.tokenizer, tokens, dataset.texts)
    return _with_labels(model.counts(order), dataset, tokens)


def _with_labels(counts: NGramCounts, dataset: Dataset, tokens: int) -> NGramCounts:
    """Return counts with those of each label, where the corpus has labels, and not too many."""
    labels = len(dataset.labels)
    if dataset.texts is None or not 0 < labels <= MOST:
        return counts
    every = Segment(dataset.tokenizer, dataset.train, dataset.train[:0], 0, texts=dataset.texts)
    part, size = spread(every, tokens), dataset.tokenizer.vocab_size
    order = min(counts.order, OF_LABELS)
    own = KneserNey(part.ids.astype(np.int64), size, order, part.texts, labels)
    return NGramCounts(counts.table, counts.match, LabelCounts(own.table(order)))


def losses_of(model: KneserNey, segment: Segment) -> list[Floats]:
    """Return -ln P of each token of a text under n-grams, (N,), for orders 1, 2, ...

    Contexts reach back over the beginning of one text, but never from a text to another.
    """
    if segment.texts is not None:
        return model.nll(segment.ids.astype(np.int64), texts=segment.texts)
    ids = segment.with_context[-len(segment) - LONGEST :]
    return model.nll(ids, len(ids) - len(segment))


def best_order(losses: list[Floats], tokens: slice | NDArray[np.int64] = slice(None)) -> int:
    """Return the order with the lowest loss; 1 is single tokens."""
    return 1 + min(range(len(losses)), key=lambda n: float(losses[n][tokens].sum()))


class NGramBaseline(NamedTuple):
    """The n-grams that a model has to beat, and that are mixed with it.

    Attributes:
        order: that does best.
        tokens: counted, at the end of the training part.
        score: on the validation part; None if there is none.
        counts: of the training part.
    """

    order: int
    tokens: int
    score: Score | None
    counts: NGramCounts


def ngram_baseline(dataset: Dataset, most: int = COUNTED) -> NGramBaseline:
    """Count the training part and score the validation part, in the order that does best.

    Args:
        dataset: the text.
        most: tokens that are counted and scored at most.
    """
    segment, tokens = spread(dataset.validation, COUNTED), min(most, len(dataset.train))
    model = count(dataset.train, segment.tokenizer, tokens, dataset.texts)
    if not len(segment):
        return NGramBaseline(
            USUAL, tokens, None, _with_labels(model.counts(USUAL), dataset, tokens)
        )
    losses = losses_of(model, segment)
    order = best_order(losses)
    found = score(TokenLosses(losses[order - 1]), segment)
    counts = _with_labels(model.counts(order), dataset, tokens)
    return NGramBaseline(order, tokens, found, counts)


def uniform(segment: Segment) -> Floats:
    """Return -ln P of each token if all were equally likely, (N,)."""
    return np.full(len(segment), math.log(segment.tokenizer.vocab_size))


def packed(learned: Ids, segment: Segment) -> dict[str, float]:
    """Return the size of a text in nats for each compressor that has seen the learned text.

    It is the size of both together less that of the learned text alone; of a very long
    learned text only the end is shown. A very short text gets no figures. Unknown characters
    all stand as U+FFFD, which is a little in the compressors' favour.
    """
    tokenizer = segment.tokenizer
    before, text = _bytes(tokenizer, learned[-PACKED:]), _bytes(tokenizer, segment.ids)
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
    losses: Floats = -np.logaddexp(*parts)
    return losses


def best_weight(first: Floats, second: Floats) -> float:
    """Return the weight of the first, in hundredths, with the lowest loss of the mixture."""
    low, high = 0, 100  # the loss is convex in the weight
    while low < high:
        middle = (low + high) // 2
        losses = [float(mixed(first, second, w / 100).sum()) for w in (middle, middle + 1)]
        low, high = (low, middle) if losses[0] <= losses[1] else (middle + 1, high)
    return low / 100


def _bytes(tokenizer: Tokenizer, ids: NDArray[np.integer]) -> bytes:
    return b"".join([tokenizer.pieces[i] for i in ids.tolist()])
