"""Classification by labels: probabilities, their temperature, and how often they are right.

By Bayes' rule a text x with log likelihoods ln P(x | l) has label l with the probability

::

    P(l | x) = exp(s_l / T) / sum over k of exp(s_k / T),   s_l = ln P(x | l) + ln P(l)

The temperature T makes up for a classifier that is too sure of itself (Guo, Pleiss, Sun and
Weinberger 2017). It is fitted on one half of the texts and judged on the other.

Legend of shapes: N texts, L labels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chargen.errors import CorpusError

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

EXPERT = 0.3  # weight of one expert, before any is fitted
MOST_WEIGHT = 4.0
RIDGE = 1.0  # of weights that are fitted: labels that are all right would make them infinite
STEPS = 50  # of Newton's method
SMALL = 1e-6  # change of a weight at which it ends
TEMPERATURES = 0.25, 1000.0  # lowest and highest that is fitted
HALVINGS = 60  # of the range in which the best temperature lies
BINS = 10  # of confidence
NORMAL_95 = 1.959963984540054  # 97.5 % quantile of the normal distribution
RESAMPLES = 10_000  # of the bootstrap


class Interval(NamedTuple):
    """A 95 % interval."""

    low: float
    high: float


class Bin(NamedTuple):
    """Texts of similar confidence: the probability of the label that is predicted.

    Attributes:
        low: lower edge of the bin.
        high: upper edge of the bin, which belongs to it.
        texts: number of them.
        confidence: their mean confidence.
        accuracy: fraction of them with the right label.
    """

    low: float
    high: float
    texts: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Classified:
    """How well labels are told.

    Attributes:
        texts: number of them.
        accuracy: fraction of the texts with the right label.
        interval: of the accuracy, by Wilson.
        macro_f1: mean F1 of the labels that have texts.
        cross_entropy: mean -ln P of the right label, in nats.
        calibration_error: expected calibration error, in the bins of ``reliability``.
        reliability: the bins that are not empty.
        confusion: number of texts by right label (rows) and predicted label (L, L).
    """

    texts: int
    accuracy: float
    interval: Interval
    macro_f1: float
    cross_entropy: float
    calibration_error: float
    reliability: tuple[Bin, ...]
    confusion: Labels


@dataclass(frozen=True)
class Calibrated:
    """A temperature from one half of the texts, and the other half before and after.

    Attributes:
        temperature: the best on the first half.
        before: the other half with a temperature of 1.
        after: the other half with this temperature.
    """

    temperature: float
    before: Classified
    after: Classified


@dataclass(frozen=True)
class Difference:
    """Two classifiers on the same texts.

    Attributes:
        accuracy: that of the first less that of the second.
        interval: of this difference, by a paired bootstrap.
        only_first: number of texts that only the first gets right.
        only_second: number of texts that only the second gets right.
        p_value: of the exact McNemar test, two-sided.
    """

    accuracy: float
    interval: Interval
    only_first: int
    only_second: int
    p_value: float


# -- probabilities ------------------------------------------------------------------------


def log_posterior(log_likelihoods: Floats, log_priors: Floats, temperature: float = 1.0) -> Floats:
    """Return ln P(l | x) (N, L) by Bayes' rule.

    A text that no label allows (all its log likelihoods are -inf) says nothing: its labels keep
    their prior probabilities.

    Args:
        log_likelihoods: ln P(x | l) of each text, (N, L).
        log_priors: ln P(l), (L,).
        temperature: T; above 1, the probabilities are less sure.
    """
    silent = np.isneginf(log_likelihoods).all(axis=1, keepdims=True)  # (N, 1)
    scores = np.where(silent, 0.0, log_likelihoods) + log_priors
    return normalize(scores / temperature)


def normalize(scores: Floats) -> Floats:
    """Return scores (N, L) less ln of the sum of their exponentials in each row."""
    above = scores - scores.max(axis=1, keepdims=True)
    normal: Floats = above - np.log(np.exp(above).sum(axis=1, keepdims=True))
    return normal


def fit_temperature(logprobs: Floats, labels: Labels) -> float:
    """Return the temperature with the lowest cross-entropy, within ``TEMPERATURES``.

    The cross-entropy is convex in b = 1 / T, with the derivative

    ::

        sum over texts of E[ln p] - ln p(label)      (E by the probabilities p^b, normalized)

    so bisection finds the minimum. Where all labels are right, it has none, and the lowest
    temperature is returned; without texts it is 1.

    Args:
        logprobs: ln p of each label, (N, L); they need not be normalized.
        labels: the right ones, (N,).
    """
    possible = np.isfinite(logprobs[np.arange(len(labels)), labels])  # the others: at no b
    scores, right = logprobs[possible], labels[possible]
    if not len(right):
        return 1.0
    low, high = (math.log(temperature) for temperature in TEMPERATURES)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if _slope(scores, right, math.exp(-middle)) > 0:
            low = middle  # too sure
        else:
            high = middle
    return min(max(math.exp(low), TEMPERATURES[0]), TEMPERATURES[1])  # but for rounding


def _slope(scores: Floats, labels: Labels, sharpness: float) -> float:
    """Return the derivative of the cross-entropy in b = 1 / T, all texts together."""
    probabilities = np.exp(normalize(scores * sharpness))  # (N, L)
    expected = (probabilities * np.where(probabilities > 0, scores, 0)).sum(axis=1)  # no 0 * inf
    return float((expected - scores[np.arange(len(labels)), labels]).sum())


# -- experts ------------------------------------------------------------------------------


def fit_weights(experts: Floats, log_priors: Floats, labels: Labels) -> Floats:
    """Return the weights (F,) of F experts with the lowest cross-entropy of the labels.

    ::

        P(l | x) ~ P(l) product over f of P_f(x | l)^w_f

    The cross-entropy is convex in the weights; with x the log likelihoods, its gradient and
    Hessian are the sums over texts of E[x] - x(label) and Cov[x], and Newton's method finds the
    minimum between 0 and ``MOST_WEIGHT``.

    Args:
        experts: log likelihoods (F, N, L).
        log_priors: ln P(l), (L,).
        labels: the right ones, (N,).
    """
    weights = np.full(len(experts), EXPERT)
    loss = _expert_loss(weights, experts, log_priors, labels)
    for _ in range(STEPS):
        step = _newton_step(weights, experts, log_priors, labels)
        while np.abs(step).max() > SMALL:
            tried = np.clip(weights - step, 0, MOST_WEIGHT)
            lower = _expert_loss(tried, experts, log_priors, labels)
            if lower < loss:
                break
            step = step / 2
        else:
            break
        weights, loss = tried, lower
    return weights


def combined(experts: Floats, weights: Floats) -> Floats:
    """Return the weighted sum (N, L) of log likelihoods (F, N, L) by weights (F,)."""
    summed: Floats = np.tensordot(weights, experts, 1)
    return summed


def _expert_loss(weights: Floats, experts: Floats, log_priors: Floats, labels: Labels) -> float:
    logprobs = log_posterior(combined(experts, weights), log_priors)
    nats = -logprobs[np.arange(len(labels)), labels].sum()
    return float(nats + RIDGE / 2 * np.square(weights - EXPERT).sum())


def _newton_step(weights: Floats, experts: Floats, log_priors: Floats, labels: Labels) -> Floats:
    probabilities = np.exp(log_posterior(combined(experts, weights), log_priors))  # (N, L)
    mean = np.einsum("nl,fnl->fn", probabilities, experts)
    found = experts[:, np.arange(len(labels)), labels]  # (F, N)
    gradient = (mean - found).sum(axis=1) + RIDGE * (weights - EXPERT)
    second = np.einsum("nl,fnl,gnl->fg", probabilities, experts, experts) - mean @ mean.T
    step: Floats = np.linalg.solve(second + RIDGE * np.eye(len(weights)), gradient)
    return step


# -- how often they are right -------------------------------------------------------------


def judge(logprobs: Floats, labels: Labels) -> Classified:
    """Return how well probabilities tell the labels.

    Args:
        logprobs: ln P of each label, normalized, (N, L); the first of the most likely labels is
            predicted.
        labels: the right ones, (N,).

    Raises:
        CorpusError: there is no text.
    """
    if not len(labels):
        raise CorpusError("there is no text with a label to judge by; at least 1 is needed")
    predicted = logprobs.argmax(axis=1)
    hits, table = predicted == labels, confusion(labels, predicted, logprobs.shape[1])
    bins = reliability(np.exp(logprobs.max(axis=1)), hits)
    return Classified(
        texts=len(labels),
        accuracy=float(hits.mean()),
        interval=wilson(int(hits.sum()), len(labels)),
        macro_f1=macro_f1(table),
        cross_entropy=max(0.0, float(-logprobs[np.arange(len(labels)), labels].mean())),  # no -0.0
        calibration_error=calibration_error(bins),
        reliability=bins,
        confusion=table,
    )


def wilson(hits: int, count: int) -> Interval:
    """Return the 95 % score interval of a fraction (Wilson 1927).

    ::

        (p + z^2 / 2n  +-  z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n),   p = hits / n

    Args:
        hits: number of successes.
        count: n, at least 1.
    """
    p, z2 = hits / count, NORMAL_95 * NORMAL_95 / count
    middle = (p + z2 / 2) / (1 + z2)
    half = NORMAL_95 * math.sqrt((p * (1 - p) + z2 / 4) / count) / (1 + z2)
    return Interval(min(p, middle - half), max(p, middle + half))  # exact at 0 and 1


def confusion(labels: Labels, predicted: Labels, count: int) -> Labels:
    """Return the number of texts (L, L) by right label (rows) and predicted label (columns)."""
    return np.bincount(labels * count + predicted, minlength=count * count).reshape(count, count)


def macro_f1(table: Labels) -> float:
    """Return the mean of F1 over the labels that have texts.

    F1 is 2 * right / (texts + predictions) of a label. A label without texts is left out; what was
    taken for it counts against the labels of those texts.

    Args:
        table: confusion matrix, (L, L).
    """
    texts, predictions = table.sum(axis=1), table.sum(axis=0)  # (L,)
    there = texts > 0
    return float((2 * table.diagonal() / np.maximum(texts + predictions, 1))[there].mean())


def reliability(confidence: Floats, hits: NDArray[np.bool_]) -> tuple[Bin, ...]:
    """Return ten bins of equal width over confidence, without the empty ones.

    Args:
        confidence: probability of the predicted label, (N,).
        hits: whether it is right, (N,).
    """
    number = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    bins = []
    for i in np.unique(number).tolist():
        own = number == i
        means = float(confidence[own].mean()), float(hits[own].mean())
        bins.append(Bin(i / BINS, (i + 1) / BINS, int(own.sum()), *means))
    return tuple(bins)


def calibration_error(bins: tuple[Bin, ...]) -> float:
    """Return the mean of |accuracy - confidence| over bins, by their texts (Naeini et al. 2015)."""
    counts, means, right = np.array([(b.texts, b.confidence, b.accuracy) for b in bins]).T
    return float(np.average(np.abs(right - means), weights=counts))


def calibrate(logprobs: Floats, labels: Labels, seed: int) -> Calibrated:
    """Fit the temperature on one half of the texts and judge the other half.

    Args:
        logprobs: ln P of each label, (N, L).
        labels: the right ones, (N,).
        seed: of the halves.

    Raises:
        CorpusError: there is no text.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    first, rest = np.split(order, [len(order) // 2])
    temperature = fit_temperature(logprobs[first], labels[first])
    other, right = logprobs[rest], labels[rest]
    after = judge(normalize(other / temperature), right)
    return Calibrated(temperature, judge(other, right), after)


# -- two classifiers ----------------------------------------------------------------------


def compare(labels: Labels, first: Labels, second: Labels, seed: int = 1) -> Difference:
    """Compare the labels that two classifiers predict for the same texts.

    The bootstrap takes N texts with replacement, each with both predictions. The difference
    depends only on how many of them each classifier alone gets right, so these numbers are
    sampled: they are multinomial.

    Args:
        labels: the right ones, (N,).
        first: predicted by the first classifier, (N,).
        second: predicted by the second, (N,).
        seed: of the bootstrap.
    """
    only_first = int(np.sum((first == labels) & (second != labels)))
    only_second = int(np.sum((second == labels) & (first != labels)))
    count = len(labels)
    fractions = np.array([only_first, only_second, count - only_first - only_second]) / count
    wins = np.random.default_rng(seed).multinomial(count, fractions, RESAMPLES)  # (R, 3)
    low, high = np.quantile((wins[:, 0] - wins[:, 1]) / count, [0.025, 0.975]).tolist()
    apart = (only_first - only_second) / count
    p_value = mcnemar(only_first, only_second)
    return Difference(apart, Interval(low, high), only_first, only_second, p_value)


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the two-sided p-value of the exact McNemar test (McNemar 1947).

    Of n texts that one classifier alone gets right, each is the first's with probability 1/2:
    2 * P(at most the smaller of the two numbers), at most 1.
    """
    n, term, ways = only_first + only_second, 1, 0
    for k in range(min(only_first, only_second) + 1):
        ways += term  # term: n choose k
        term = term * (n - k) // (k + 1)
    return min(1.0, 2 * ways / (1 << n))
