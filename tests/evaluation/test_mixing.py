"""Weight and temperature of the mixture are the best of those tried, on the beginning alone."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from chargen.data.dataset import Segment, tokenize
from chargen.engine import Engine, make_engine
from chargen.engine.mixture import MixtureEngine
from chargen.evaluation.baselines import mixed, ngram_baseline
from chargen.evaluation.mixing import TEMPERATURES, counted_losses, fit_mixture
from chargen.evaluation.protocols import stateful, tempered
from chargen.model.counts import NGramCounts
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


def test_the_fit_is_the_best_of_all_on_the_first_half(parts: Parts) -> None:
    segment, counts, engine = parts
    counted, half = counted_losses(counts, segment), len(segment) // 2
    found = fit_mixture(engine, counted, segment)
    own = tempered(engine, segment.first(half), TEMPERATURES)
    tried = {
        (w / 100, t): float(mixed(counted[:half], row, w / 100).mean())
        for w in range(1, 96)
        for t, row in zip(TEMPERATURES, own, strict=True)
    }
    assert (found.weight, found.temperature) == min(tried, key=lambda key: tried[key])
    later = segment.ids.copy()
    later[half:] = later[half:][::-1]
    other = dataclasses.replace(segment, ids=later)
    assert fit_mixture(engine, counted_losses(counts, other), other) == found


def test_the_engine_has_the_losses_that_were_mixed(parts: Parts) -> None:
    segment, counts, engine = parts
    counted = counted_losses(counts, segment)
    mixture = fit_mixture(engine, counted, segment)
    (own,) = tempered(engine, segment, (mixture.temperature,))
    expected = mixed(counted, own, mixture.weight)
    found = stateful(MixtureEngine(engine, counts, mixture), segment).nll
    np.testing.assert_allclose(found, expected, atol=1e-4)
