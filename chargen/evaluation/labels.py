"""Labels of texts under a model: P(text | label) for each label, and how often it tells them apart.

Two experts tell it, the network and the n-gram counts of the label, each to its own power: what is
best for the next character is not best for the label. Texts and labels are read side by side: each
text once for each label.

Legend of shapes: F experts, N texts, L labels of the model; R texts, and records in them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeGuard

import numpy as np

from chargen.config import require
from chargen.data.dataset import Dataset, Segment
from chargen.data.decoding import as_read
from chargen.data.texts import Texts
from chargen.engine import Engine
from chargen.engine.mixture import MixtureEngine
from chargen.errors import ConfigError
from chargen.evaluation.classification import (
    EXPERT,
    MOST_WEIGHT,
    Labels,
    combined,
    fit_weights,
    judge,
    log_posterior,
)
from chargen.evaluation.groups import SEED, gathered, part_of
from chargen.evaluation.mixing import read_both
from chargen.evaluation.nll import Floats, Tokens, token_nll
from chargen.evaluation.protocols import OnProgress, stateful
from chargen.model.saved import SavedModel
from chargen.sampling.sampler import Sampler
from chargen.tokenizers import Ids, Tokenizer

HELD = 1 << 18  # tokens at once, each of a text counted for each label
JUDGED = 1000  # held-out texts of which the labels are judged at the end of a run, at most
READ = 1 << 21  # tokens that are read for it, each of a text counted for each label, at most
LONGEST = 2000  # tokens of a record by which its label is judged
PASSAGE = 200  # tokens, where texts are no records
AT_ONCE = 20  # texts, before the time is looked at
FEWEST = 2  # texts of which one half is judged
PRIORS = ("training", "uniform")
WEIGHTS = ("label_network", "label_counts")  # of the experts, in the file of a model


class LabelFigures(NamedTuple):
    """How well a model tells the labels of held-out texts.

    Attributes:
        accuracy: fraction of texts with the right label, of the half that fits no weights.
        weights: of the experts, the best on all texts, (F,).
    """

    accuracy: float
    weights: tuple[float, ...]


def label_likelihoods(
    sampler: Sampler,
    texts: Sequence[str],
    *,
    whole: bool = True,
    progress: OnProgress = lambda _: None,
) -> Floats:
    """Return ln P of each text under each label in nats by each expert, (F, N, L).

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
    sums = np.zeros((len(texts), len(found), len(sampler.labels)))
    np.add.at(sums, owner, found.swapaxes(0, 1))
    return sums.swapaxes(0, 1)


def log_label_probabilities(
    saved: SavedModel,
    sampler: Sampler,
    texts: Sequence[str],
    *,
    prior: str = "training",
    whole: bool = True,
    progress: OnProgress = lambda _: None,
) -> Floats:
    """Return ln P(label | text) of each text, (N, L).

    Args:
        saved: the model, with the probabilities of labels in training and the weights of experts.
        sampler: the same model at work.
        texts: see ``label_likelihoods``.
        prior: ``training`` for the fraction of a label in the training part, or ``uniform``.
        whole: each ends where it ends.
        progress: called with the number of texts that were read.

    Raises:
        ConfigError: there is no such prior, or as ``label_likelihoods``.
    """
    priors = log_priors(saved, prior)
    experts = label_likelihoods(sampler, texts, whole=whole, progress=progress)
    return log_posterior(combined(experts, _expert_weights(saved, len(experts))), priors)


def label_probabilities(
    sampler: Sampler, texts: Sequence[str], *, prior: str = "training", whole: bool = True
) -> list[dict[str, float]]:
    """Return P(label | text) of each text by label; see ``log_label_probabilities``."""
    if sampler.saved is None:
        raise ConfigError("the labels of texts are told by one model; load one alone")
    found = log_label_probabilities(sampler.saved, sampler, texts, prior=prior, whole=whole)
    return [dict(zip(sampler.labels, row, strict=True)) for row in np.exp(found).tolist()]


def log_priors(saved: SavedModel, kind: str) -> Floats:
    """Return ln P of each label before a text is seen (L,).

    Raises:
        ConfigError: there is no such kind.
    """
    require(kind in PRIORS, "prior", kind, ", ".join(PRIORS))
    counts, names = saved.section("corpus").get("label_counts"), saved.config.labels
    given = counts if isinstance(counts, dict) and kind == "training" else {}
    shares = np.array([max(1, int(given.get(name, 1))) for name in names], np.float64)
    priors: Floats = np.log(shares / shares.sum())
    return priors


def _expert_weights(saved: SavedModel, count: int) -> Floats:
    """Return the weights (F,) that the end of the run fitted, or usual ones."""
    found = [saved.training.get(name) for name in WEIGHTS[:count]]
    known = all(isinstance(value, float) and 0 <= value <= MOST_WEIGHT for value in found)
    return np.array(found if known else [EXPERT] * count, np.float64)


def log_likelihoods(
    engine: Engine, segment: Segment, labels: int, progress: OnProgress = lambda _: None
) -> Floats:
    """Return ln P of each text of a segment under each of L labels by each expert, (F, R, L)."""
    assert segment.texts is not None
    texts, done = segment.texts, 0
    order = np.argsort(-texts.lengths, kind="stable")
    found = np.zeros((2 if _knows_labels(engine) else 1, len(texts), labels))
    for rows, columns in _blocks(texts.lengths[order], labels):
        own, numbers = order[rows], np.arange(labels)[columns]
        found[:, own[:, None], numbers] = _block(engine, segment, own, numbers)
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
    """Return ln P of some texts (n) of a segment under some labels (l), (F, n, l)."""
    assert segment.texts is not None
    texts = segment.texts
    lengths = np.repeat(texts.lengths[own], len(labels))
    starts = np.repeat(texts.borders[own], len(labels))
    ids, borders = gathered(segment.ids, starts, lengths)
    pairs = Texts(borders, np.tile(labels, len(own)).astype(np.int32), texts.before)
    part = Segment(segment.tokenizer, ids, ids[:0], len(ids), texts=pairs)
    nll = _expert_losses(engine, part) + segment.tokenizer.unknown_nll(ids)  # (F, tokens)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    sums = np.array([np.bincount(rows, each, minlength=len(lengths)) for each in nll])
    return -sums.reshape(len(nll), len(own), len(labels))


def _knows_labels(engine: Engine) -> TypeGuard[MixtureEngine]:
    """Tell whether there are counts of each label."""
    return isinstance(engine, MixtureEngine) and engine.counts.labels is not None


def _expert_losses(engine: Engine, segment: Segment) -> Floats:
    """Return -ln P of each token of a segment by each expert, (F, tokens)."""
    if not _knows_labels(engine):
        return stateful(engine, segment).nll[None]
    losses = np.zeros((2, len(segment)))
    for part, known in read_both(engine.network, engine.counts, segment):
        scored = part.scored
        for row, scores in zip(losses, (part.logits, known.counted[1]), strict=True):
            row[part.places[scored]] = token_nll(scores, part.targets)[0][scored]
    return losses


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
    parts, count = list[Floats](), 0
    while count < len(right) and not overdue():
        own = np.arange(count, min(count + AT_ONCE, len(right)))
        part = part_of(segment, own, lengths[own])
        parts.append(log_likelihoods(engine, part, len(dataset.labels)))
        count += len(own)
    if count < FEWEST:
        return None
    priors = np.log(np.maximum(1, label_counts(dataset)))
    return _judged(np.concatenate(parts, axis=1), priors, right[:count])


def _judged(experts: Floats, priors: Floats, right: Labels) -> LabelFigures:
    """Judge one half of the texts, in random order, by what the other half fits."""
    half = len(right) // 2
    weights = fit_weights(experts[:, :half], priors, right[:half])
    logprobs = log_posterior(combined(experts[:, half:], weights), priors)
    accuracy = judge(logprobs, right[half:]).accuracy
    return LabelFigures(accuracy, tuple(fit_weights(experts, priors, right).tolist()))


def label_counts(dataset: Dataset) -> Tokens:
    """Return how often each label is in the training part, (L,): by records, or by tokens of files.

    Their fractions are the probabilities of the labels before a text is seen.
    """
    if dataset.texts is None:
        return np.zeros(0, np.int64)
    known, weights = dataset.texts.labels >= 0, None
    if not dataset.texts.are_records:
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
    size = LONGEST if texts.are_records else PASSAGE
    counts = np.ones_like(texts.lengths) if size == LONGEST else texts.lengths // size
    number = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    starts = np.repeat(texts.borders[:-1], counts) + number * size
    lengths = np.minimum(size, np.repeat(texts.borders[1:], counts) - starts)
    labels = np.repeat(texts.labels, counts)
    order = np.random.default_rng(SEED).permutation(np.flatnonzero(labels >= 0))[:JUDGED]
    order = order[np.cumsum(lengths[order]) * len(dataset.labels) <= READ]
    ids, borders = gathered(segment.ids, starts[order], lengths[order])
    return replace(segment, ids=ids, texts=Texts(borders, labels[order], texts.before))
