"""The weights of the mixture are those of the lowest loss, on the beginning of the text alone."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from chargen.data.dataset import Segment, tokenize
from chargen.data.texts import Texts
from chargen.engine import Engine, make_engine
from chargen.engine.mixture import MixtureEngine
from chargen.evaluation.baselines import ngram_baseline
from chargen.evaluation.mixing import (
    PRIOR,
    Examples,
    both_losses,
    derivatives,
    examples,
    fit,
    fit_mixture,
)
from chargen.evaluation.ngram import KneserNey
from chargen.evaluation.protocols import stateful
from chargen.model.counts import NGramCounts
from chargen.model.label_counts import LabelCounts
from chargen.model.match import LENGTHS
from chargen.model.saved import Mixture
from chargen.model.spec import ModelConfig, parse_stack, weight_shapes
from chargen.tokenizers.char import CharTokenizer
from tests.conftest import text_of

Parts = tuple[Segment, NGramCounts, Engine]


MATCH = (0.1, 0.2, 0.4, 0.3, 0.1, 0.6)


@pytest.fixture
def parts(prose: str) -> Parts:
    """Return the validation part, the counts and an engine of random weights."""
    dataset = tokenize(text_of(prose), 0.1)
    config = ModelConfig(dataset.tokenizer.vocab_size, parse_stack("lstm:6"), 5)
    rng = np.random.default_rng(0)
    weights = {
        name: rng.normal(0, 0.5, shape).astype(np.float32)
        for name, shape in weight_shapes(config).items()
    }
    return dataset.validation, ngram_baseline(dataset).counts, make_engine(weights, config, "cpu")


def usual(counts: int) -> np.ndarray:
    """Return the weights that the prior is around."""
    return np.array([0.6, *[0.4 / counts] * counts, *[0.0] * LENGTHS])


def loss(places: Examples, weights: np.ndarray) -> float:
    """Return the mean loss, of float64 all the way."""
    known, match = places.known, weights[-LENGTHS:]
    features = places.network.astype(np.float64), *known.counted
    scores = sum(w * f for w, f in zip(weights[:-LENGTHS], features, strict=True))
    for row, (token, length) in zip(scores, known.expected, strict=True):
        row[token] += match[length] if token >= 0 else 0
    scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
    prior = usual(len(known.counted))
    own = -scores[np.arange(len(scores)), places.targets].sum()
    return float(own + PRIOR / 2 * np.square(weights - prior).sum())


def test_no_other_weights_do_better(parts: Parts) -> None:
    places = examples(parts[2], parts[1], parts[0])
    found = fit(places)
    weights = np.array([found.network, found.counts, *found.match])
    best = loss(places, weights)
    for step in np.eye(len(weights)) * 0.05:
        assert best < min(loss(places, weights + step), loss(places, weights - step))


def test_the_derivatives_are_those_of_the_loss(parts: Parts) -> None:
    places = examples(parts[2], parts[1], parts[0].first(200))
    weights = np.array([0.5, 0.3, *MATCH])
    gradient, hessian = derivatives(places, weights)
    prior = usual(1)
    for i, step in enumerate(np.eye(len(weights)) * 1e-4):
        slope = (loss(places, weights + step) - loss(places, weights - step)) / 2e-4
        assert gradient[i] + PRIOR * (weights - prior)[i] == pytest.approx(slope, abs=0.02)
        ahead, behind = (derivatives(places, weights + s * step)[0] for s in (10, -10))
        np.testing.assert_allclose(hessian[i], (ahead - behind) / 2e-3, atol=0.1)


def test_only_the_beginning_tells(parts: Parts) -> None:
    segment, counts, engine = parts
    later = segment.ids.copy()
    half = len(segment) // 2
    later[half:] = later[half:][::-1]
    other = dataclasses.replace(segment, ids=later)
    assert fit_mixture(engine, counts, other) == fit_mixture(engine, counts, segment)


def test_the_engine_has_the_losses_of_the_report(parts: Parts) -> None:
    segment, counts, engine = parts
    mixture = fit_mixture(engine, counts, segment)
    own, whole = both_losses(engine, counts, mixture, segment)
    found = stateful(MixtureEngine(engine, counts, mixture), segment).nll
    np.testing.assert_allclose(found, whole, atol=1e-6)
    np.testing.assert_allclose(stateful(engine, segment).nll, own, atol=1e-6)
    assert whole.mean() < own.mean()


# -- labels -------------------------------------------------------------------------------


def test_counts_of_labels_are_mixed_in_with_the_best_weights() -> None:
    segment, counts, engine = labelled()
    places = examples(engine, counts, segment)
    assert len(places.known.counted) == 2
    found = fit(places)
    weights = np.array([found.network, found.counts, found.labels, *found.match])
    best = loss(places, weights)
    for step in np.eye(len(weights)) * 0.05:
        assert best < min(loss(places, weights + step), loss(places, weights - step))
    assert found.labels > found.counts  # the labels tell the texts apart
    changed = np.array([0.5, 0.3, 0.2, *MATCH])
    gradient, _ = derivatives(places, changed)
    for i, step in enumerate(np.eye(len(changed)) * 1e-4):
        slope = (loss(places, changed + step) - loss(places, changed - step)) / 2e-4
        assert gradient[i] + PRIOR * (changed - usual(2))[i] == pytest.approx(slope, abs=0.02)


def test_an_engine_with_labels_gives_the_losses_of_the_fit() -> None:
    segment, counts, engine = labelled()
    mixture = Mixture(0.5, 0.2, MATCH, 0.4)
    _, whole = both_losses(engine, counts, mixture, segment)
    mixed = stateful(MixtureEngine(engine, counts, mixture), segment)
    np.testing.assert_allclose(mixed.nll, whole, atol=1e-5)


def labelled() -> tuple[Segment, NGramCounts, Engine]:
    """Return texts of two labels, their counts, and an engine of random weights."""
    words = ["abc acd bcd", "xyz xzy abz"]
    rng = np.random.default_rng(1)
    lines = [" ".join(rng.choice(words[n % 2].split(), 6)) + "\n" for n in range(80)]
    tokenizer = CharTokenizer("\n " + "abcdxyz")
    lengths = [len(line) for line in lines]
    borders, numbers = np.append(0, np.cumsum(lengths)), np.arange(80) % 2
    texts = Texts(borders, numbers.astype(np.int32), int(tokenizer.encode("\n")[0]))
    ids = tokenizer.encode("".join(lines)).astype(np.int64)
    size = tokenizer.vocab_size
    counted = KneserNey(ids, size, 4, texts).counts(4)
    own = KneserNey(ids, size, 4, texts, labels=2).table(4)
    counts = NGramCounts(counted.table, counted.match, LabelCounts(own))
    config = ModelConfig(size, parse_stack("rnn:6"), 5, labels=("a", "b"))
    weights = {
        name: rng.normal(0, 0.5, shape).astype(np.float32)
        for name, shape in weight_shapes(config).items()
    }
    none = np.zeros(0, np.int64)
    held = int(borders[20])
    segment = Segment(tokenizer, ids[:held], none, held, texts=texts.first(held))
    return segment, counts, make_engine(weights, config, "cpu")
