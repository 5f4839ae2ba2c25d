"""Baselines of classification, by scikit-learn: what is told without a recurrent network.

``majority`` gives each text the label with the most texts. ``naive-bayes`` (multinomial, McCallum
and Nigam 1998) counts character n-grams of 1 to 5. ``logistic-regression`` takes 1 + ln of these
counts times the inverse document frequency, each text scaled to length 1. Case and white space
are kept. The smoothing of the one and the penalty of the other are those with the lowest
cross-entropy, at the best temperature, on the last tenth of each label's texts, after learning the
texts before it; then all texts are learned.

Legend of shapes: N texts, L labels, F different n-grams.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chargen.errors import ConfigError, CorpusError
from chargen.evaluation.classification import Floats, Labels, fit_temperature, judge, normalize

INSTALL = "pip install 'chargen[baselines]'"
KINDS = "majority", "naive-bayes", "logistic-regression"
LONGEST = 5  # n-grams
FEATURES = (
    200_000  # n-grams, the most frequent; 500,000 are no better on passages of 200 characters
)
CHOICES = {  # what is added to the counts; C, one over the strength of the penalty
    "naive-bayes": (0.001, 0.01, 0.1, 1.0),
    "logistic-regression": (1.0, 4.0, 16.0, 64.0, 256.0),
}
ITERATIONS = 2000  # of L-BFGS at most; 30 to 120 are usual
HELD_OUT = 10  # one in so many texts of a label, to choose


@dataclass(frozen=True)
class Predictions:
    """What a classifier says of texts.

    Attributes:
        labels: the most likely label of each text, (N,).
        logprobs: ln P of each label, (N, L).
    """

    labels: Labels
    logprobs: Floats

    @property
    def probabilities(self) -> Floats:
        """P of each label (N, L)."""
        found: Floats = np.exp(self.logprobs)
        return found


def baseline_predictions(
    kind: str, texts: Sequence[str], labels: Labels, unseen_texts: Sequence[str]
) -> Predictions:
    """Learn from labelled texts and classify others.

    Args:
        kind: one of ``KINDS``.
        texts: to learn from.
        labels: theirs, numbered from 0, (N,); L is the highest number plus 1.
        unseen_texts: to classify.

    Raises:
        ConfigError: the kind is unknown, or scikit-learn is not installed.
        CorpusError: there is no text to learn from.
    """
    if kind not in KINDS:
        raise ConfigError(f"baseline {kind!r} is unknown; there are: {', '.join(KINDS)}")
    if not len(texts):
        raise CorpusError("there is no text with a label to learn from; at least 1 is needed")
    learned = np.asarray(labels, np.int64)
    empty = not any(texts) or not len(unseen_texts)
    if kind == "majority" or empty or len(np.unique(learned)) == 1:
        return _majority(learned, len(unseen_texts))
    best = _choose(kind, texts, learned)
    (logprobs,) = _learn(kind, (best,), texts, learned, unseen_texts)
    return Predictions(logprobs.argmax(axis=1), logprobs)


def ngrams(text: str) -> list[str]:
    """Return all n-grams of a text; those of scikit-learn make one space of all white space."""
    return [text[i : i + n] for n in range(1, LONGEST + 1) for i in range(len(text) - n + 1)]


def _majority(labels: Labels, count: int) -> Predictions:
    """Return the frequencies of the labels, for each of so many texts."""
    with np.errstate(divide="ignore"):  # -inf for a number without texts
        logprobs = np.tile(np.log(np.bincount(labels) / len(labels)), (count, 1))  # (N, L)
    return Predictions(logprobs.argmax(axis=1), logprobs)


def _choose(kind: str, texts: Sequence[str], labels: Labels) -> float:
    """Return the choice that does best on the last tenth of each label's texts."""
    held, choices = _last_of_each(labels), CHOICES[kind]
    known = [text for text, out in zip(texts, held, strict=True) if not out]
    others = [text for text, out in zip(texts, held, strict=True) if out]
    if not others or not any(known):
        return choices[len(choices) // 2]
    found = _learn(kind, choices, known, labels[~held], others)
    losses = [_calibrated_loss(logprobs, labels[held]) for logprobs in found]
    return choices[int(np.argmin(losses))]


def _last_of_each(labels: Labels) -> NDArray[np.bool_]:
    """Return which texts (N,) are the last tenth of those of their label."""
    held = np.zeros(len(labels), np.bool_)
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        held[own[len(own) - len(own) // HELD_OUT :]] = True
    return held


def _calibrated_loss(logprobs: Floats, labels: Labels) -> float:
    """Return the cross-entropy at the best temperature: naive Bayes is far too sure of itself."""
    calibrated = normalize(logprobs / fit_temperature(logprobs, labels))
    return judge(calibrated, labels).cross_entropy


def _learn(
    kind: str,
    choices: Sequence[float],
    texts: Sequence[str],
    labels: Labels,
    unseen_texts: Sequence[str],
) -> list[Floats]:
    """Return ln P (N, L) of the labels of unseen texts, by each choice."""
    known, unseen = _features(kind, texts, unseen_texts)  # (N, F)
    found = []
    for choice in choices:
        model = _classifier(kind, choice).fit(known, labels)
        logprobs = np.full((len(unseen_texts), 1 + int(labels.max())), -np.inf)
        logprobs[:, model.classes_] = model.predict_log_proba(unseen)
        found.append(logprobs)
    return found


def _features(kind: str, texts: Sequence[str], unseen_texts: Sequence[str]) -> tuple[Any, Any]:
    """Return the sparse features (N, F) of texts to learn from, and of others."""
    try:
        from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
    except ModuleNotFoundError:
        raise ConfigError(f"baseline {kind!r} needs scikit-learn: {INSTALL}") from None
    counter = CountVectorizer(analyzer=ngrams, max_features=FEATURES, dtype=np.float32)
    known, unseen = counter.fit_transform(texts), counter.transform(unseen_texts)
    if kind == "naive-bayes":
        return known, unseen
    weights = TfidfTransformer(sublinear_tf=True).fit(known)
    return weights.transform(known), weights.transform(unseen)


def _classifier(kind: str, choice: float) -> Any:
    """Return a classifier that has learned nothing yet."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import MultinomialNB

    if kind == "naive-bayes":
        return MultinomialNB(alpha=choice)
    return LogisticRegression(C=choice, max_iter=ITERATIONS)
