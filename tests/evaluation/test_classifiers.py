"""Baselines of classification: what they learn, and what they do with little or odd input."""

from __future__ import annotations

import math
import random
import sys

import numpy as np
import pytest

from chargen.errors import ConfigError, CorpusError
from chargen.evaluation.classifiers import KINDS, baseline_predictions, ngrams

LEARNING = KINDS[1:]


@pytest.fixture
def _scikit_learn() -> None:
    pytest.importorskip("sklearn", reason="needs scikit-learn: pip install 'chargen[baselines]'")


def passages(count: int, seed: int) -> tuple[list[str], np.ndarray]:
    """Return texts of two voices in turns: the same words, one of them with doubled spaces."""
    rng = random.Random(seed)
    words = ("sea", "ship", "whale", "Whale", "wind")
    pairs = [rng.choices(words, k=12) for _ in range(count)]
    return [(" ", "  ")[i % 2].join(pair) for i, pair in enumerate(pairs)], np.arange(count) % 2


def test_ngrams_keep_case_and_white_space() -> None:
    assert ngrams("A\n\nb") == [
        "A",
        "\n",
        "\n",
        "b",
        "A\n",
        "\n\n",
        "\nb",
        "A\n\n",
        "\n\nb",
        "A\n\nb",
    ]


def test_the_majority_has_the_frequencies_of_the_labels() -> None:
    found = baseline_predictions("majority", ["a"] * 4, np.array([2, 0, 2, 2]), ["b", "c"])
    np.testing.assert_array_equal(found.labels, [2, 2])
    np.testing.assert_allclose(found.probabilities, [[0.25, 0, 0.75]] * 2)


@pytest.mark.parametrize("kind", LEARNING)
@pytest.mark.usefixtures("_scikit_learn")
def test_voices_that_differ_in_white_space_are_told_apart(kind: str) -> None:
    unseen, labels = passages(20, seed=2)
    found = baseline_predictions(kind, *passages(60, seed=1), unseen)
    np.testing.assert_array_equal(found.labels, labels)
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1)
    again = baseline_predictions(kind, *passages(60, seed=1), unseen)
    np.testing.assert_array_equal(found.logprobs, again.logprobs)


@pytest.mark.usefixtures("_scikit_learn")
def test_naive_bayes_by_hand() -> None:
    texts, labels = ["a", "b"], np.array([0, 1])
    found = baseline_predictions("naive-bayes", texts, labels, ["a", "?"])
    smoothing = 0.1  # the middle choice, as there is no text to choose by
    likely = (1 + smoothing) / (1 + 2 * smoothing)
    np.testing.assert_allclose(found.probabilities, [[likely, 1 - likely], [0.5, 0.5]], rtol=1e-5)


@pytest.mark.parametrize("kind", LEARNING)
@pytest.mark.usefixtures("_scikit_learn")
def test_a_number_without_texts_is_never_predicted(kind: str) -> None:
    texts, labels = passages(10, seed=1)
    found = baseline_predictions(kind, texts, labels * 3 + 1, texts)
    assert found.logprobs.shape == (10, 5)
    assert set(found.labels.tolist()) == {1, 4}
    assert (found.logprobs[:, [0, 2, 3]] == -math.inf).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("texts", "labels", "unseen", "expected"),
    [
        (["one", "two"], [1, 1], ["three"], [1]),  # one label
        (["", "", ""], [0, 1, 1], ["one"], [1]),  # nothing to count
        (["one", "two"], [0, 1], [], []),
    ],
)
def test_little_to_learn_from(
    kind: str, texts: list[str], labels: list[int], unseen: list[str], expected: list[int]
) -> None:
    found = baseline_predictions(kind, texts, np.array(labels), unseen)
    assert found.labels.tolist() == expected
    assert found.logprobs.shape == (len(unseen), max(labels) + 1)


@pytest.mark.parametrize("kind", LEARNING)
@pytest.mark.usefixtures("_scikit_learn")
def test_empty_texts_before_others(kind: str) -> None:
    labels = np.arange(20) // 10
    texts = ["", *[""] * 8, "sea", *[""] * 9, "wind"]  # to choose by: texts of unknown n-grams
    assert baseline_predictions(kind, texts, labels, ["sea", "wind"]).labels.tolist() == [0, 1]


def test_a_baseline_needs_a_known_name_and_a_text() -> None:
    with pytest.raises(ConfigError, match="'forest' is unknown; there are: majority, naive-bayes"):
        baseline_predictions("forest", ["a"], np.array([0]), [])
    with pytest.raises(CorpusError, match="at least 1"):
        baseline_predictions("majority", [], np.array([], np.int64), ["a"])


def test_without_scikit_learn_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.feature_extraction.text", None)
    with pytest.raises(
        ConfigError, match=r"needs scikit-learn: pip install 'chargen\[baselines\]'"
    ):
        baseline_predictions("naive-bayes", ["a", "b"], np.array([0, 1]), ["a"])
