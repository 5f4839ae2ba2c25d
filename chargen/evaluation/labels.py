"""Labels of texts under a model: P(text | label) for each label, and how often it tells them apart.

Texts and labels are read side by side: each text once for each label.

Legend of shapes: N texts, L labels of the model; R texts, and records in them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from chargen.data.dataset import Dataset, Segment
from chargen.data.decoding import as_read
from chargen.data.texts import Texts
from chargen.engine import Engine
from chargen.errors import ConfigError
from chargen.evaluation.classification import calibrate, judge, log_posterior
from chargen.evaluation.groups import SEED, gathered, part_of
from chargen.evaluation.nll import Floats, Tokens
from chargen.evaluation.protocols import OnProgress, stateful
from chargen.sampling.sampler import Sampler
from chargen.tokenizers import Ids, Tokenizer

HELD = 1 << 18  # tokens at once, each of a text counted for each label
JUDGED = 1000  # held-out texts of which the labels are judged at the end of a run, at most
READ = 1 << 19  # tokens that are read for it, each of a text counted for each label, at most
LONGEST = 2000  # tokens of a record by which its label is judged
PASSAGE = 200  # tokens, where texts are no records
AT_ONCE = 100  # texts, before the time is looked at


class LabelFigures(NamedTuple):
    """How well a model tells the labels of held-out texts.

    Attributes:
        accuracy: fraction of texts with the right label.
        temperature: of the probabilities, the best on one half of the texts.
    """

    accuracy: float
    temperature: float


def label_likelihoods(
    sampler: Sampler,
    texts: Sequence[str],
    *,
    whole: bool = True,
    progress: OnProgress = lambda _: None,
) -> Floats:
    """Return ln P of each text under each label in nats, (N, L).

    Of a model of records, a text is a record, or several: then the product of their probabilities.

    Args:
        sampler: the model.
        texts: read as its corpus was; see ``as_read``.
        whole: each ends where it ends; otherwise it is a passage, which may go on.
        progress: called with the number of texts that were read, the longest first.

    Raises:
        ConfigError: the model has no labels, or a text is no text.
        TokenizerError: a text holds a lone surrogate.
    """
    if not sampler.labels:
        raise ConfigError("the model has no labels; train one with --label")
    end = sampler.reading.end
    pieces = [_records(as_read(text, sampler.reading), end, whole) for text in texts]
    ids = [_encoded(sampler.tokenizer, record, end) for records in pieces for record in records]
    borders = np.concatenate([[0], np.cumsum([len(own) for own in ids], dtype=np.int64)])
    before = int(sampler.tokenizer.encode(end or "\n")[-1])
    joined = np.concatenate([np.zeros(0, np.int64), *ids])
    cut = Texts(borders, np.zeros(len(ids), np.int32), before)
    segment = Segment(sampler.tokenizer, joined, joined[:0], len(joined), texts=cut)
    found = log_likelihoods(sampler.engine, segment, len(sampler.labels), progress)
    owner = np.repeat(np.arange(len(texts)), [len(records) for records in pieces])
    sums = np.zeros((len(texts), len(sampler.labels)))
    np.add.at(sums, owner, found)
    return sums


def log_likelihoods(
    engine: Engine, segment: Segment, labels: int, progress: OnProgress = lambda _: None
) -> Floats:
    """Return ln P of each text of a segment under each of L labels in nats, (R, L)."""
    assert segment.texts is not None
    texts, done = segment.texts, 0
    order, found = np.argsort(-texts.lengths, kind="stable"), np.zeros((len(texts), labels))
    for rows, columns in _blocks(texts.lengths[order], labels):
        own, numbers = order[rows], np.arange(labels)[columns]
        found[own[:, None], numbers] = _block(engine, segment, own, numbers)
        done = rows.stop if columns.stop >= labels else done
        progress(min(done, len(texts)))
    return found


def _blocks(lengths: Tokens, labels: int) -> Iterator[tuple[slice, slice]]:
    """Yield texts, the longest first, and labels that are read at once."""
    start = 0
    while start < len(lengths):
        rows = max(1, HELD // max(1, int(lengths[start])))
        count = max(1, rows // labels)
        for first in range(0, labels, rows):
            yield slice(start, start + count), slice(first, first + rows)
        start += count


def _block(engine: Engine, segment: Segment, own: Tokens, labels: Tokens) -> Floats:
    """Return ln P of some texts (n) of a segment under some labels (l), (n, l)."""
    assert segment.texts is not None
    texts = segment.texts
    lengths = np.repeat(texts.lengths[own], len(labels))
    starts = np.repeat(texts.borders[own], len(labels))
    ids, borders = gathered(segment.ids, starts, lengths)
    pairs = Texts(borders, np.tile(labels, len(own)).astype(np.int32), texts.before)
    part = Segment(segment.tokenizer, ids, ids[:0], len(ids), texts=pairs)
    nll = stateful(engine, part).nll + segment.tokenizer.unknown_nll(ids)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    sums = np.bincount(rows, nll, minlength=len(lengths)).astype(np.float64)
    return -sums.reshape(len(own), len(labels))


def _records(text: str, end: str | None, whole: bool) -> list[str]:
    """Return the records of a text, each with its end."""
    if end is None:
        return [text]
    *ended, last = text.split(end)
    rest = [last + end * whole] if last or not ended else []
    return [*(record + end for record in ended), *rest]


def _encoded(tokenizer: Tokenizer, record: str, end: str | None) -> Ids:
    """Encode a record, and its end by itself, as the training text was."""
    if end is None or not record.endswith(end):
        return tokenizer.encode(record)
    return np.concatenate([tokenizer.encode(record[: -len(end)]), tokenizer.encode(end)])


# -- at the end of a run ------------------------------------------------------------------


def judge_labels(
    engine: Engine, dataset: Dataset, overdue: Callable[[], bool] = lambda: False
) -> LabelFigures | None:
    """Return how well a model tells the labels of held-out texts; None if there are none.

    Args:
        engine: the model.
        dataset: its corpus.
        overdue: tells whether the time is over; the texts that were read by then are judged.
    """
    segment = texts_to_judge(dataset)
    if segment is None or segment.texts is None or dataset.texts is None:
        return None
    lengths, right = segment.texts.lengths, segment.texts.labels.astype(np.int64)
    found = np.zeros((0, len(dataset.labels)))
    while len(found) < len(right) and not overdue():
        own = np.arange(len(found), min(len(found) + AT_ONCE, len(right)))
        part = part_of(segment, own, lengths[own])
        found = np.concatenate([found, log_likelihoods(engine, part, len(dataset.labels))])
    if not len(found):
        return None
    priors = np.log(np.maximum(1, label_counts(dataset)))
    logprobs, right = log_posterior(found, priors), right[: len(found)]
    temperature = calibrate(logprobs, right, SEED).temperature
    return LabelFigures(judge(logprobs, right).accuracy, temperature)


def label_counts(dataset: Dataset) -> Tokens:
    """Return how often each label is in the training part, (L,): by records, or by tokens of files.

    The shares of the labels are their probabilities before a text is seen.
    """
    if dataset.texts is None:
        return np.zeros(0, np.int64)
    known, weights = dataset.texts.labels >= 0, None
    if not _are_records(dataset.train, dataset.texts):
        weights = dataset.texts.lengths[known]
    counts = np.bincount(dataset.texts.labels[known], weights, len(dataset.labels))
    return counts.astype(np.int64)


def texts_to_judge(dataset: Dataset) -> Segment | None:
    """Return the held-out texts of which the labels are judged, in random order; None without any.

    Records are cut to ``LONGEST`` tokens; other texts are read in passages of ``PASSAGE``. They are
    read once for each label: that makes ``READ`` tokens at most.
    """
    segment, texts = dataset.validation, dataset.validation.texts
    if texts is None or not len(texts) or not dataset.labels:
        return None
    size = LONGEST if _are_records(segment.ids, texts) else PASSAGE
    counts = np.ones_like(texts.lengths) if size == LONGEST else texts.lengths // size
    number = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    starts = np.repeat(texts.borders[:-1], counts) + number * size
    lengths = np.minimum(size, np.repeat(texts.borders[1:], counts) - starts)
    labels = np.repeat(texts.labels, counts)
    order = np.random.default_rng(SEED).permutation(np.flatnonzero(labels >= 0))[:JUDGED]
    order = order[np.cumsum(lengths[order]) * len(dataset.labels) <= READ]
    ids, borders = gathered(segment.ids, starts[order], lengths[order])
    return replace(segment, ids=ids, texts=Texts(borders, labels[order], texts.before))


def _are_records(ids: Ids, texts: Texts) -> bool:
    """Tell whether each text ends with what is read before it."""
    return bool(texts.lengths.all() and (ids[texts.borders[1:] - 1] == texts.before).all())
