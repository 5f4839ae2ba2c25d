"""A network mixed with its counts speaks as one model: by its equation, in pieces, in a batch."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from chargen.engine import Engine, Logits, make_engine, open_engine
from chargen.engine.mixture import MixtureEngine
from chargen.errors import CheckpointError, ConfigError
from chargen.evaluation.ngram import KneserNey
from chargen.model.counts import PREFIX
from chargen.model.ngrams import NGramConfig, token_codes
from chargen.model.saved import KIND, Mixture, load_weights, read_model, save_model
from chargen.model.spec import ModelConfig, parse_stack, weight_shapes
from chargen.sampling.filters import log_probabilities
from chargen.storage.checkpoint import read_tensors, write_tensors
from chargen.tokenizers import build_tokenizer

TOKENIZER = build_tokenizer("char", "abcdef\n", 0)
V = TOKENIZER.vocab_size
CONFIG = ModelConfig(
    V, parse_stack("lstm:7,gru:5"), 6, NGramConfig((13, 101), token_codes(TOKENIZER.pieces))
)
RNG = np.random.default_rng(0)
WEIGHTS = {
    name: RNG.normal(0, 0.5, shape).astype(np.float32)
    for name, shape in weight_shapes(CONFIG).items()
}
COUNTS = KneserNey(RNG.integers(1, V, size=500), V, 4).counts(4)
MIXTURE = Mixture(0.7, 0.3, (0.1, 0.4, 0.8, 1.6, 2.0, 2.5))
PATH = Path("model.safetensors")


def engine() -> MixtureEngine:
    return MixtureEngine(make_engine(WEIGHTS, CONFIG, "cpu"), COUNTS, MIXTURE)


def test_it_is_the_equation() -> None:
    ids = RNG.integers(V, size=(3, 20))
    mixed, own = engine(), make_engine(WEIGHTS, CONFIG, "cpu")
    scores, _ = mixed.run(ids, mixed.init_state(3))
    logits, _ = own.run(ids, own.init_state(3))
    state = COUNTS.advance(COUNTS.start(3), ids)
    counted = COUNTS.probabilities(state.reshape(60, 6)).reshape(logits.shape)
    expected = np.exp(log_probabilities(logits)) ** 0.7 * counted**0.3
    guesses = COUNTS.match.expected(state.reshape(60, 6)[:, -2:])
    assert any(token >= 0 for token, _ in guesses)
    for row, (token, length) in zip(expected.reshape(60, -1), guesses, strict=True):
        if token >= 0:
            row[token] *= np.exp(MIXTURE.match[length])
    expected /= expected.sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(np.exp(log_probabilities(scores)), expected, rtol=1e-4, atol=1e-7)


def test_a_token_that_neither_expects_has_a_logarithm() -> None:
    weights = {**WEIGHTS, "head.bias": np.array([400.0] + [0.0] * (V - 1), np.float32)}
    mixed = MixtureEngine(make_engine(weights, CONFIG, "cpu"), COUNTS, MIXTURE)
    scores, _ = mixed.run(RNG.integers(V, size=(2, 3)), mixed.init_state(2))
    assert np.isfinite(scores).all()  # and no warning


def one_by_one(model: Engine, ids: np.ndarray[tuple[int, int], np.dtype[np.int64]]) -> list[Logits]:
    state, parts = model.init_state(len(ids)), []
    for step in range(ids.shape[1]):
        scores, state = model.run(ids[:, step : step + 1], state)
        parts.append(scores[:, 0])
    return parts


def test_pieces_equal_the_whole_and_a_batch_its_rows() -> None:
    ids, model = RNG.integers(V, size=(4, 30)), engine()
    whole, last = model.run(ids, model.init_state(4))
    np.testing.assert_allclose(np.stack(one_by_one(model, ids), axis=1), whole, atol=1e-5)
    together = one_by_one(model, ids)
    for row in range(4):
        alone = one_by_one(engine(), ids[row : row + 1])
        assert all(
            np.array_equal(a[row], b[0]) for a, b in zip(together, alone, strict=True)
        )  # bit for bit: a text does not depend on the others
    assert {part.dtype for part in last} == {np.dtype(np.float32)}


def test_a_model_file_holds_all_of_it() -> None:
    save_model(PATH, WEIGHTS, CONFIG, TOKENIZER, {}, COUNTS, MIXTURE)
    saved = read_model(PATH)
    assert saved.mixture == MIXTURE
    assert saved.config == CONFIG
    assert set(saved.weights()) == set(WEIGHTS)
    table = load_weights(PATH)["ngrams.table.weight"]
    assert table.dtype == np.float32
    whole = WEIGHTS["ngrams.table.weight"]
    np.testing.assert_allclose(table, whole, atol=np.abs(whole).max() / 250)  # half a level of int8
    ids, expected = RNG.integers(V, size=(1, 40)), engine()
    for int8, close in ((False, 0.02), (True, 0.3)):
        opened = open_engine(saved, "cpu", 1, int8=int8)
        found, _ = opened.run(ids, opened.init_state(1))
        scores, _ = expected.run(ids, expected.init_state(1))
        assert np.abs(found - scores).max() < close


def test_damaged_counts_and_mixtures_are_named() -> None:
    save_model(PATH, WEIGHTS, CONFIG, TOKENIZER, {}, COUNTS, MIXTURE)
    tensors, header = read_tensors(PATH, KIND)
    short = {name: array for name, array in tensors.items() if name != f"{PREFIX}2.own"}
    write_tensors(PATH, short, header)
    with pytest.raises(CheckpointError, match="counts of the model are damaged"):
        open_engine(read_model(PATH), "cpu", 1)
    whole = dataclasses.asdict(MIXTURE)
    wrong = (
        {"network": 0.0},
        {"counts": -1.0},
        {"counts": "x"},
        {"match": [1.0]},
        {"match": 3},
        {"w": 1},
    )
    for mixture in (*({**whole, **change} for change in wrong), "none", {"weight": 0.5}):
        write_tensors(PATH, tensors, {**header, "mixture": mixture})
        with pytest.raises(CheckpointError, match="is damaged"):
            read_model(PATH)
    for numbers in ((0.0, 1.0), (0.5, -0.1), (float("nan"), 0.1), (0.5, 0.5, (float("nan"),) * 6)):
        with pytest.raises(ConfigError, match="allowed"):
            Mixture(*numbers)
