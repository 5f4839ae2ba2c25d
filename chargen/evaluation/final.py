"""Losses of a model at the end of a run, by the engine that will read it ever after.

The validation part is read in both protocols of ``protocols``, by the network alone and with its
n-gram counts mixed in. Where it consists of texts, there is one protocol, and no stateless loss.

Legend of shapes: N tokens of a text.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np

from chargen.data.dataset import Dataset, Segment
from chargen.engine import Engine, make_engine
from chargen.engine.mixture import MixtureEngine
from chargen.evaluation.groups import spread
from chargen.evaluation.labels import WEIGHTS, judge_labels
from chargen.evaluation.mixing import both_losses, fit_mixture
from chargen.evaluation.nll import Floats
from chargen.evaluation.protocols import (
    SCORED,
    Score,
    TokenLosses,
    half_interval,
    score,
    stateful,
    stateless,
)
from chargen.evaluation.validation import engine_of, score_streams
from chargen.model.counts import NGramCounts
from chargen.model.language_model import LanguageModel
from chargen.model.saved import Mixture

FINAL = (
    *("final_val_loss", "final_network_loss", "final_val_bits_per_char", "final_stateless_loss"),
    *("final_train_loss", "final_test_loss", "int8_bits_per_char", "int8_margin"),
    *("label_accuracy", *WEIGHTS),
)
QUANTISED = 2048  # tokens on which int8 weights are measured
SEEN = 1 << 17  # tokens of the training part that are scored at most


def score_seen(model: LanguageModel, dataset: Dataset) -> Score:
    """Score a part of the training part, as much as there is for validation, in streams.

    It is the end of one text, or texts drawn at random.
    """
    count = min(len(dataset.validation), len(dataset.train) // 2, SEEN)
    if dataset.texts is None:
        return score_streams(model, dataset.end_of_train(max(1, count)))
    return score_streams(model, dataset.end_of_train(len(dataset.train)), max(1, count))


def final_losses(
    model: LanguageModel,
    dataset: Dataset,
    threads: int | None = None,
    overdue: Callable[[], bool] = lambda: False,
    counts: NGramCounts | None = None,
    judging: float = math.inf,
) -> tuple[dict[str, float | None], Mixture | None]:
    """Return what the end of a run tells, by the names in ``metrics.jsonl``.

    All in nats per token but for ``final_val_bits_per_char``: the validation part stateful and
    stateless, and the test part, by the network with its counts mixed in; the validation part
    by the network alone, and as much of the training part; of each part ``SCORED`` tokens at
    most. And how much int8 weights add, in bits per character, and how well labels are told.

    Args:
        model: the weights to judge.
        dataset: the text and its parts.
        threads: CPU threads; None finds the fastest number.
        overdue: tells whether the time is over; what the end can do without is None then.
        counts: n-gram counts to mix in.
        judging: seconds in which labels are told, at most.

    Returns:
        the losses, and how the counts are mixed in.
    """
    losses: dict[str, float | None] = dict.fromkeys(FINAL)
    engine, validation = engine_of(model, threads), spread(dataset.validation, SCORED)
    test, mixture = spread(dataset.test, SCORED), Mixture() if counts else None
    if len(validation):
        own, mixture = _mixed_losses(engine, validation, counts)
        network, whole = (score(TokenLosses(nll), validation) for nll in own)
        losses["final_network_loss"] = network.nats_per_token
        losses["final_val_loss"] = whole.nats_per_token
        losses["final_val_bits_per_char"] = whole.bits_per_char
    if counts and mixture:
        engine = MixtureEngine(engine, counts, mixture)
    if len(test):
        losses["final_test_loss"] = score(stateful(engine, test), test).nats_per_token
    if len(validation):
        ends = time.monotonic() + judging
        if figures := judge_labels(engine, dataset, lambda: overdue() or time.monotonic() > ends):
            losses["label_accuracy"] = figures.accuracy
            losses |= dict(zip(WEIGHTS, figures.weights, strict=False))
        if len(dataset.train) > 1 and not overdue():
            losses["final_train_loss"] = score_seen(model, dataset).nats_per_token
        if not overdue():
            losses["int8_bits_per_char"], losses["int8_margin"] = loss_of_int8(model, validation)
        if validation.texts is None and not overdue():
            windows = stateless(engine, validation)
            losses["final_stateless_loss"] = score(windows, validation).nats_per_token
    return losses, mixture


def _mixed_losses(
    engine: Engine, segment: Segment, counts: NGramCounts | None
) -> tuple[tuple[Floats, Floats], Mixture | None]:
    """Return the losses (N,) of the network and of it with its counts; fit how they are mixed."""
    if counts is None:
        own = stateful(engine, segment).nll
        return (own, own), None
    mixture = fit_mixture(engine, counts, segment)
    return both_losses(engine, counts, mixture, segment), mixture


def loss_of_int8(model: LanguageModel, segment: Segment) -> tuple[float, float | None]:
    """Return how many bits per character more the int8 engine needs than the float32 one.

    Both read the beginning of a text, or some texts, a token at a time, as they do when they
    generate. The second number is half of its 95 % interval, where there is enough text.
    """
    segment, weights = spread(segment, QUANTISED), model.weights()
    exact, coarse = (
        stateful(make_engine(weights, model.config, "cpu", int8=int8), segment, most=1).nll
        for int8 in (False, True)
    )
    nats, characters = coarse - exact, np.full(len(exact), segment.characters_per_token)
    bits = float(nats.sum()) / float(characters.sum()) / math.log(2)
    return bits, half_interval(nats, characters)
