"""Weights with which n-gram counts are mixed into a network: the best on unseen text.

They are fitted on the beginning of the validation part, or on some of its texts, where neither the
network nor the counts have seen the text. The mixture is log-linear (``engine.mixture``), so the
loss is convex in its weights u, with features f of each token: gradient and Hessian are

::

    sum over places of E[f] - f(target)        sum over places of Cov[f]

under the mixture (Berger, Della Pietra and Della Pietra 1996), and Newton's method finds the
minimum. A Gaussian prior around the default weights keeps a short text from moving them far.

Legend of shapes: N places, V vocabulary, D weights.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from chargen.data.dataset import Segment
from chargen.engine import Engine, Logits
from chargen.engine.labels import one_hot
from chargen.engine.mixture import Evidence, follow, mix, start
from chargen.evaluation.groups import spread
from chargen.evaluation.nll import Floats, Part, read_segment, token_nll
from chargen.model.counts import NGramCounts
from chargen.model.match import LENGTHS, Numbers
from chargen.model.saved import LARGEST, Mixture
from chargen.sampling.filters import log_probabilities

FITTED = 1 << 14  # tokens on which the weights are fitted, at most; and at most half of the text
HELD = 1 << 23  # log probabilities held for it, at most
ROUNDS = 12  # of Newton's method
PRIOR = 10.0  # precision of the prior
SMALLEST = 0.01  # weight of the network


class Examples(NamedTuple):
    """Places to fit on.

    Attributes:
        network: ln P of the network (N, V).
        known: what the counts say there.
        targets: the next tokens (N).
    """

    network: Logits
    known: Evidence
    targets: Numbers


def fit_mixture(engine: Engine, counts: NGramCounts, segment: Segment) -> Mixture:
    """Return the weights with the lowest loss at the beginning of a text, or on some texts.

    Args:
        engine: the network.
        counts: of its training text.
        segment: the text, or texts.
    """
    most = min(FITTED, HELD // counts.vocab_size, len(segment) // 2)
    return fit(examples(engine, counts, spread(segment, max(1, most))))


def examples(engine: Engine, counts: NGramCounts, segment: Segment) -> Examples:
    """Return what network and counts say of each token of a segment."""
    features, targets = list[tuple[NDArray[Any], ...]](), list[Numbers]()
    expected = list[tuple[int, int]]()
    for part, known in read_both(engine, counts, segment):
        scored = part.scored
        network = log_probabilities(part.logits[scored])
        features.append((network, *(own[scored] for own in known.counted)))
        targets.append(part.targets[scored])
        expected += itertools.compress(known.expected, scored.ravel().tolist())
    columns: list[Any] = [np.concatenate(own) for own in zip(*features, strict=True)]
    network, *counted = columns
    return Examples(network, Evidence(tuple(counted), expected), np.concatenate(targets))


def fit(places: Examples) -> Mixture:
    """Return the weights with the lowest loss, by Newton's method with steps that never go up."""
    prior = _prior(len(places.known.counted))
    weights, loss = prior, _loss(places, prior, prior)
    for _ in range(ROUNDS):
        gradient, hessian = derivatives(places, weights)
        gradient += PRIOR * (weights - prior)
        step = np.linalg.solve(hessian + PRIOR * np.eye(len(prior)), gradient)
        while (
            np.abs(step).max() > SMALLEST and _loss(places, _inside(weights - step), prior) > loss
        ):
            step = step / 2
        if np.abs(step).max() <= SMALLEST:
            break
        weights = _inside(weights - step)
        loss = _loss(places, weights, prior)
    return _mixture(weights)


def both_losses(
    engine: Engine, counts: NGramCounts, mixture: Mixture, segment: Segment
) -> tuple[Floats, Floats]:
    """Return the stateful losses (N) of a network alone, and with counts mixed in."""
    losses = np.zeros((2, len(segment)))
    for part, known in read_both(engine, counts, segment):
        scored = part.scored
        both = part.logits, mix(part.logits, known, mixture)
        for row, scores in zip(losses, both, strict=True):
            row[part.places[scored]] = token_nll(scores, part.targets)[0][scored]
    own, whole = losses
    return own, whole


def read_both(
    engine: Engine, counts: NGramCounts, segment: Segment
) -> Iterator[tuple[Part, Evidence]]:
    """Yield the steps of a segment as the network has read them, and what the counts say."""
    state, weights = start(counts, None, 0), None
    for part in read_segment(engine, segment):
        if part.begins:
            weights = _label_weights(counts, part)
            state = start(counts, weights, len(part.inputs))
        known, state = follow(counts, state, part.inputs, weights)
        yield part, known


def _label_weights(counts: NGramCounts, part: Part) -> NDArray[np.float32] | None:
    """Return the weights of the labels of the rows (B, L), where there are labels."""
    if counts.labels is None:
        return None
    labels = np.full(len(part.inputs), -1) if part.labels is None else part.labels
    return one_hot(labels, counts.labels.table.roots)


# -- the fit ------------------------------------------------------------------------------


def _prior(counts: int) -> Floats:
    """Return the weights to begin with: of the network, the counts, and the match (D)."""
    usual = Mixture()
    return np.array([usual.network, *[usual.counts / counts] * counts, *usual.match])


def _mixture(weights: Floats) -> Mixture:
    network, *counts = weights[:-LENGTHS].tolist()
    labels = counts[1] if len(counts) > 1 else 0.0
    return Mixture(network, counts[0], tuple(weights[-LENGTHS:].tolist()), labels)


def _inside(weights: Floats) -> Floats:
    """Return the nearest weights that a mixture may have."""
    low = np.full(len(weights), -LARGEST)
    low[:-LENGTHS] = 0.0
    low[0] = SMALLEST
    return np.clip(weights, low, LARGEST)


def _loss(places: Examples, weights: Floats, prior: Floats) -> float:
    """Return the loss in nats, all places together, and that of the prior."""
    mixed = mix(places.network, places.known, _mixture(weights))
    nats = token_nll(mixed, places.targets)[0].sum()
    return float(nats + PRIOR / 2 * np.square(weights - prior).sum())


def derivatives(places: Examples, weights: Floats) -> tuple[Floats, Floats]:
    """Return gradient (D) and Hessian (D, D) of the sum of -ln P."""
    network, (counted, guesses), targets = places
    features = (network, *counted)
    expected, length = np.array(guesses).T
    probability = np.exp(log_probabilities(mix(network, places.known, _mixture(weights))))
    rows, held, first = np.arange(len(targets)), expected >= 0, len(features)
    hit = np.where(held, probability[rows, expected], 0)  # probability of the expected token

    def by_length(values: Floats) -> Floats:
        return np.bincount(length, values, minlength=LENGTHS).astype(np.float64)

    mean = np.zeros((len(targets), len(weights)))  # E[f] at each place
    found = np.zeros_like(mean)  # f(target)
    second = np.zeros((len(weights), len(weights)))  # sum of E[f f']
    for i, feature in enumerate(features):
        mean[:, i] = np.einsum("nv,nv->n", probability, feature)
        found[:, i] = feature[rows, targets]
        second[i, first:] = second[first:, i] = by_length(hit * feature[rows, expected])
        for j, other in enumerate(features):
            second[i, j] = np.einsum("nv,nv,nv->", probability, feature, other)
    mean[rows, first + length] = hit
    found[rows, first + length] = held & (expected == targets)
    second[first:, first:] = np.diag(by_length(hit))
    return (mean - found).sum(axis=0), second - mean.T @ mean
