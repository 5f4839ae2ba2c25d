"""The weights of the mixture are those of the lowest loss, on the beginning of the text alone."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from chargen.data.dataset import Segment, tokenize
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
from chargen.evaluation.protocols import stateful
from chargen.model.counts import NGramCounts
from chargen.model.saved import Mixture
from chargen.model.spec import ModelConfig, parse_stack, weight_shapes
from tests.conftest import text_of

Parts = tuple[Segment, NGramCounts, Engine]


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


def loss(places: Examples, weights: np.ndarray) -> float:
    """Return the mean loss, of float64 all the way."""
    network, counts, *match = weights.tolist()
    known = places.known
    scores = network * places.network.astype(np.float64) + counts * known.counted
    for row, (token, length) in zip(scores, known.expected, strict=True):
        row[token] += match[length] if token >= 0 else 0
    scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
    prior = np.array([Mixture().network, Mixture().counts, *Mixture().match])
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
    weights = np.array([0.5, 0.3, 0.1, 0.2, 0.4, 0.3, 0.1, 0.6])
    gradient, hessian = derivatives(places, weights)
    prior = np.array([Mixture().network, Mixture().counts, *Mixture().match])
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
