"""Probabilities by Bayes' rule, their temperature, and how often labels are right."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargen.errors import CorpusError
from chargen.evaluation.classification import (
    TEMPERATURES,
    Bin,
    calibrate,
    calibration_error,
    combined,
    compare,
    confusion,
    fit_temperature,
    fit_weights,
    judge,
    log_posterior,
    macro_f1,
    mcnemar,
    normalize,
    reliability,
    wilson,
)

Task = tuple[np.ndarray, np.ndarray]  # scores (N, L), right labels (N,)


@st.composite
def tasks(draw: st.DrawFn) -> Task:
    count, width = draw(st.integers(1, 20)), draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    scores = rng.normal(0, draw(st.sampled_from([0.1, 3.0, 300.0])), (count, width))
    scores[rng.random((count, width)) < draw(st.sampled_from([0.0, 0.3]))] = -math.inf
    return scores, rng.integers(0, width, count)


def sampled(count: int, scale: float) -> Task:
    """Return ln P of three labels, too sure by a factor, and labels that follow P."""
    rng = np.random.default_rng(3)
    scores = rng.normal(0, 1.5, (count, 3))
    labels = (scores + rng.gumbel(size=scores.shape)).argmax(axis=1)  # Gumbel-max samples P
    return normalize(scores * scale), labels


# -- probabilities ------------------------------------------------------------------------


def test_bayes_rule_by_hand() -> None:
    likelihoods, priors = np.log([[0.02, 0.01], [0.001, 0.009]]), np.log([0.25, 0.75])
    found = np.exp(log_posterior(likelihoods, priors))
    np.testing.assert_allclose(found, [[0.005 / 0.0125, 0.6], [1 / 28, 27 / 28]])


def test_a_temperature_of_two_takes_the_root_of_the_ratios() -> None:
    found = np.exp(log_posterior(np.log([[0.09, 0.01]]), np.log([0.5, 0.5]), 2.0))
    np.testing.assert_allclose(found, [[0.75, 0.25]])  # 3 : 1 instead of 9 : 1


def test_long_texts_do_not_underflow() -> None:
    found = log_posterior(np.array([[-9000.0, -9001.0]]), np.log([0.5, 0.5]))
    np.testing.assert_allclose(np.exp(found[0]), [1 / (1 + math.exp(-1)), 1 / (1 + math.e)])


def test_an_impossible_label_has_no_probability_and_a_silent_text_the_priors() -> None:
    scores = np.array([[-3.0, -math.inf], [-math.inf, -math.inf]])
    found = np.exp(log_posterior(scores, np.log([0.2, 0.8])))
    np.testing.assert_allclose(found, [[1.0, 0.0], [0.2, 0.8]])


@given(task=tasks(), temperature=st.floats(0.05, 100))
def test_probabilities_sum_to_1_and_no_temperature_changes_the_label(
    task: Task, temperature: float
) -> None:
    priors = np.full(task[0].shape[1], -math.log(task[0].shape[1]))
    plain, found = (log_posterior(task[0], priors, t) for t in (1.0, temperature))
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1.0)
    np.testing.assert_array_equal(found.argmax(axis=1), plain.argmax(axis=1))


# -- temperature --------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0, 40.0])
def test_the_temperature_undoes_a_classifier_that_is_too_sure(scale: float) -> None:
    assert fit_temperature(*sampled(20000, scale)) == pytest.approx(scale, rel=0.05)


def test_the_temperature_by_hand() -> None:
    # Three of four right at a ratio of 9 : 1. The ratio 3 : 1, at T = 2, has the frequencies.
    logprobs, labels = np.log([[0.9, 0.1]] * 4), np.array([0, 0, 0, 1])
    assert fit_temperature(logprobs, labels) == pytest.approx(2.0)


@given(tasks())
def test_no_other_temperature_has_a_lower_cross_entropy(task: Task) -> None:
    scores, labels = task
    scores[np.arange(len(labels)), labels] = -0.5  # no right label is impossible
    best = fit_temperature(scores, labels)
    assert TEMPERATURES[0] <= best <= TEMPERATURES[1]

    def loss(temperature: float) -> float:
        return float(-normalize(scores / temperature)[np.arange(len(labels)), labels].mean())

    for other in np.clip([best * 0.9, best * 1.1], *TEMPERATURES).tolist():
        assert loss(best) <= loss(other) + 1e-9


def test_a_temperature_stays_in_its_range() -> None:
    logprobs = np.log([[0.9, 0.1], [0.2, 0.8]])
    assert fit_temperature(logprobs, np.array([0, 1])) == pytest.approx(TEMPERATURES[0])
    assert fit_temperature(logprobs, np.array([1, 0])) == pytest.approx(TEMPERATURES[1])


def test_texts_that_no_temperature_explains_are_left_out() -> None:
    logprobs = np.array([[0.0, -math.inf]] + [[math.log(0.9), math.log(0.1)]] * 4)
    assert fit_temperature(logprobs, np.array([1, 0, 0, 0, 1])) == pytest.approx(2.0)
    assert fit_temperature(logprobs[:1], np.array([1])) == 1.0


# -- right and wrong ----------------------------------------------------------------------


def test_a_judgement_by_hand() -> None:
    logprobs = np.log([[0.7, 0.2, 0.1], [0.15, 0.8, 0.05], [0.5, 0.3, 0.2], [0.1, 0.3, 0.6]])
    found = judge(logprobs, np.array([0, 1, 1, 2]))
    assert (found.texts, found.accuracy) == (4, 0.75)
    assert found.interval == pytest.approx((0.3006, 0.9544), abs=5e-5)
    np.testing.assert_array_equal(found.confusion, [[1, 0, 0], [1, 1, 0], [0, 0, 1]])
    assert found.macro_f1 == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)
    assert found.cross_entropy == pytest.approx(-math.log(0.7 * 0.8 * 0.3 * 0.6) / 4)
    assert found.calibration_error == pytest.approx((0.3 + 0.2 + 0.5 + 0.4) / 4)
    assert [b.texts for b in found.reliability] == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("hits", "count", "interval"),
    [(0, 10, (0, 0.2775)), (10, 10, (0.7225, 1)), (50, 100, (0.4038, 0.5962)), (1, 1, (0.2065, 1))],
)
def test_wilson_intervals_by_hand(hits: int, count: int, interval: tuple[float, float]) -> None:
    assert wilson(hits, count) == pytest.approx(interval, abs=5e-5)


def test_f1_leaves_out_labels_without_texts() -> None:
    table = confusion(np.array([0, 0, 1, 1]), np.array([0, 2, 1, 1]), 4)
    assert macro_f1(table) == pytest.approx((2 / 3 + 1) / 2)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30))
def test_a_perfect_classifier_has_an_f1_of_1(labels: list[int]) -> None:
    right = np.array(labels)
    assert macro_f1(confusion(right, right, 5)) == 1.0


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
def test_f1_is_the_harmonic_mean_of_precision_and_recall(pairs: list[tuple[int, int]]) -> None:
    def f1(label: int) -> float:
        hits = pairs.count((label, label))
        if not hits:
            return 0.0
        precision = hits / sum(predicted == label for _, predicted in pairs)
        recall = hits / sum(right == label for right, _ in pairs)
        return 2 / (1 / precision + 1 / recall)

    labels, predicted = np.array(pairs).T
    there = {right for right, _ in pairs}
    expected = sum(map(f1, there)) / len(there)
    assert macro_f1(confusion(labels, predicted, 4)) == pytest.approx(expected)


def test_reliability_by_hand() -> None:
    confidence = np.array([0.95, 0.91, 0.6, 0.6000001, 1.0, 0.0])
    found = reliability(confidence, np.array([True, False, True, True, True, False]))
    expected: list[tuple[float, ...]] = [(0, 0.1, 1, 0, 0), (0.5, 0.6, 1, 0.6, 1)]
    expected += [(0.6, 0.7, 1, 0.6, 1), (0.9, 1.0, 3, 2.86 / 3, 2 / 3)]
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, abs=1e-6)


def test_the_calibration_error_by_hand() -> None:
    bins = Bin(0.5, 0.6, 30, 0.55, 0.65), Bin(0.9, 1.0, 10, 0.95, 0.75)
    assert calibration_error(bins) == pytest.approx((30 * 0.1 + 10 * 0.2) / 40)


def test_a_calibrated_classifier_has_no_calibration_error() -> None:
    assert judge(*sampled(20000, 1.0)).calibration_error < 0.015


@given(tasks())
def test_a_judgement_of_anything_is_in_range(task: Task) -> None:
    scores, labels = task
    priors = np.zeros(scores.shape[1])
    found = judge(log_posterior(scores, priors), labels)
    assert found.interval.low <= found.accuracy <= found.interval.high
    assert 0 <= found.macro_f1 <= 1
    assert 0 <= found.calibration_error <= 1
    assert found.cross_entropy >= -1e-12
    assert found.confusion.sum() == sum(b.texts for b in found.reliability) == len(labels)
    assert found.confusion.trace() == round(found.accuracy * len(labels))


def test_one_text_and_one_label() -> None:
    found = judge(np.zeros((1, 1)), np.array([0]))
    assert (found.accuracy, found.macro_f1, found.cross_entropy) == (1.0, 1.0, 0.0)
    assert calibrate(np.zeros((1, 1)), np.array([0]), 1).temperature == 1.0


def test_an_impossible_label_that_is_right_costs_everything() -> None:
    assert judge(np.array([[0.0, -math.inf]]), np.array([1])).cross_entropy == math.inf


def test_no_text_is_an_error() -> None:
    with pytest.raises(CorpusError, match="at least 1"):
        judge(np.zeros((0, 2)), np.zeros(0, np.int64))


def test_one_half_gives_the_temperature_and_the_other_is_judged() -> None:
    logprobs, labels = sampled(4000, 3.0)
    found = calibrate(logprobs, labels, 1)
    assert found.before.texts == found.after.texts == 2000
    assert found.before.accuracy == found.after.accuracy
    assert found.after.cross_entropy < found.before.cross_entropy
    assert found.after.calibration_error < 0.04 < found.before.calibration_error
    again, other = calibrate(logprobs, labels, 1), calibrate(logprobs, labels, 2)
    assert again.temperature == found.temperature != other.temperature


# -- two classifiers ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "p_value"),
    [(0, 0, 1.0), (5, 5, 1.0), (0, 6, 2 / 64), (6, 0, 2 / 64), (2, 8, 2 * 56 / 1024)],
)
def test_mcnemar_by_hand(first: int, second: int, p_value: float) -> None:
    assert mcnemar(first, second) == pytest.approx(p_value)


def test_mcnemar_of_many_texts() -> None:
    assert mcnemar(4900, 5100) == pytest.approx(0.0466, abs=5e-4)  # 2 (1 - Phi(1.99))


def test_two_classifiers_by_hand() -> None:
    labels = np.zeros(100, np.int64)
    first, second = labels.copy(), labels.copy()
    first[:4], second[2:20] = 1, 1
    found = compare(labels, first, second)
    assert (found.only_first, found.only_second) == (16, 2)
    assert found.accuracy == pytest.approx(0.14)
    assert found.p_value == pytest.approx(mcnemar(2, 16))
    # standard error: sqrt((0.18 - 0.14^2) / 100) = 0.04
    assert found.interval == pytest.approx((0.14 - 1.96 * 0.04, 0.14 + 1.96 * 0.04), abs=0.011)


def test_equal_classifiers_do_not_differ() -> None:
    labels = np.array([0, 1, 1])
    found = compare(labels, labels, labels)
    assert (found.accuracy, found.interval, found.p_value) == (0.0, (0.0, 0.0), 1.0)


# -- experts ------------------------------------------------------------------------------


def experts() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return log likelihoods of a good expert, a poor one and one that knows nothing."""
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=400)
    right = np.eye(3)[labels]
    found = [5 * right + rng.normal(0, 4, (400, 3)), right + rng.normal(0, 4, (400, 3))]
    priors = np.log(np.array([0.5, 0.3, 0.2]))
    return np.array([*found, rng.normal(0, 9, (400, 3))]), priors, labels


def test_no_other_weights_of_experts_do_better() -> None:
    found, priors, labels = experts()
    weights = fit_weights(found, priors, labels)

    def loss(weights: np.ndarray) -> float:
        scores = log_posterior(combined(found, weights), priors)
        nats = -scores[np.arange(len(labels)), labels].sum()
        return float(nats + np.square(weights - 0.3).sum() / 2)

    for step in np.eye(3) * 0.01:
        assert loss(weights) < min(loss(weights + step), loss(weights - step))
    assert weights[0] > weights[1] > weights[2]


def test_labels_that_are_all_right_leave_the_weights_finite() -> None:
    found = np.where(np.eye(4)[None, [0, 1, 2, 3] * 5], 0.0, -1e3)
    (weight,) = fit_weights(found, np.log(np.full(4, 0.25)), np.array([0, 1, 2, 3] * 5))
    assert 0 < weight <= 4
