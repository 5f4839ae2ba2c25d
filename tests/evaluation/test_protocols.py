"""How well a model knows a text: the same, honestly, by every protocol."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from chargen.config import TOKENIZERS, TrainConfig
from chargen.data.dataset import Dataset, tokenize
from chargen.engine import Engine, open_engine
from chargen.evaluation import protocols as measuring
from chargen.evaluation.heldout import whole_text
from chargen.evaluation.protocols import Score, TokenLosses, score, stateful, tempered, windows
from chargen.evaluation.validation import engine_of, score_ngram, score_streams, token_costs
from chargen.model.language_model import LanguageModel
from chargen.model.saved import read_model
from chargen.model.spec import CELLS, ModelConfig, parse_stack
from chargen.tokenizers import Ids
from tests.conftest import text_of, write
from tests.model.test_language_model import VOCAB, model_of


def carried_score(model: LanguageModel, corpus: Dataset) -> Score:
    return score(stateful(engine_of(model), corpus), corpus)


def window_score(model: LanguageModel, corpus: Dataset) -> Score:
    return score(windows(engine_of(model), corpus), corpus)


# -- protocols ----------------------------------------------------------------------------


def test_a_model_that_knows_nothing_pays_for_the_whole_vocabulary() -> None:
    corpus = tokenize(text_of("abcdefghij" * 300), 0.1)
    model = model_of("lstm:6")
    with torch.no_grad():
        model.head.weight.zero_()
    for protocol in (score_streams, carried_score, window_score):
        score = protocol(model, corpus)
        assert score.tokens == score.characters == 300
        assert score.nats_per_token == pytest.approx(math.log(VOCAB))
        assert score.bits_per_char == pytest.approx(math.log2(VOCAB))


@pytest.mark.parametrize("size", [40, 333, 3000, 20011])
def test_both_protocols_score_each_token_once(size: int, prose: str) -> None:
    corpus = tokenize(text_of(prose[:size], "byte"), 0.1)
    model = LanguageModel(ModelConfig(256, parse_stack("lstm:6"), 5), TrainConfig(seed=1))
    lanes, stateful = score_streams(model, corpus), carried_score(model, corpus)
    assert lanes.tokens == stateful.tokens == len(corpus.validation)
    # An untrained model forgets in less than the 256 tokens that warm a lane.
    assert lanes.nats == pytest.approx(stateful.nats, rel=1e-5)


def test_the_carried_score_is_the_sum_of_the_costs_of_one_pass(prose: str) -> None:
    corpus = tokenize(text_of(prose[:5000], "byte"), 0.1)
    model = LanguageModel(ModelConfig(256, parse_stack("gru:6"), 5), TrainConfig(seed=1))
    ids = np.concatenate([corpus.train[-256:], corpus.validation]).astype(np.int64)
    with torch.no_grad():
        logits, _ = model(torch.from_numpy(ids[None]), model.init_state(1))
    costs = -logits[0].log_softmax(-1)[np.arange(len(ids) - 1), ids[1:]]
    expected = float(costs[255:].double().sum())
    assert carried_score(model, corpus).nats == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("size", [600, 2560, 100_003])
def test_windows_begin_anew_every_256_tokens(size: int, prose: str) -> None:
    corpus = tokenize(text_of((prose * 3)[:size], "byte"), 0.1)
    model = LanguageModel(ModelConfig(256, parse_stack("lstm:6"), 5), TrainConfig(seed=1))
    ids = np.concatenate([corpus.train[-1:], corpus.validation]).astype(np.int64)
    expected = 0.0
    for start in range(0, len(ids) - 1, 256):
        window = torch.from_numpy(ids[None, start : start + 257])
        with torch.no_grad():
            expected += float(token_costs(model, window, model.init_state(1))[0].sum())
    score = window_score(model, corpus)
    assert score.tokens == len(corpus.validation)
    assert score.nats == pytest.approx(expected, rel=1e-6)


def test_counting_scores_each_token_once_and_names_its_order() -> None:
    corpus = tokenize(text_of("abcab" * 600 + "z"), 0.1)
    order, score = score_ngram(corpus)
    assert order == 4  # three characters tell the next one
    assert score.tokens == score.characters == len(corpus.validation) == 301
    expected = math.log(1_112_064 - 3)  # the name of z, among all unseen characters
    assert expected < score.nats < expected + 30


def test_a_limit_scores_part_of_every_lane(prose: str) -> None:
    corpus = tokenize(text_of(prose, "byte"), 0.1)
    model = LanguageModel(ModelConfig(256, parse_stack("lstm:6"), 5), TrainConfig(seed=1))
    part = score_streams(model, corpus, 320)
    assert part.tokens == 320
    assert part.nats_per_token == pytest.approx(
        score_streams(model, corpus).nats_per_token, rel=0.05
    )


def test_naming_an_unknown_character_costs_the_choice_among_all_others() -> None:
    text = "ab" * 450 + "ab" * 49 + "zz"
    corpus = tokenize(text_of(text), 0.1)
    model = LanguageModel(ModelConfig(3, parse_stack("rnn:2"), 2), TrainConfig(seed=1))
    with torch.no_grad():
        model.head.weight.zero_()
    expected = 100 * math.log(3) + 2 * math.log(1_112_064 - 2)
    for protocol in (carried_score, score_streams, window_score):
        score = protocol(model, corpus)
        assert score.tokens == 100
        assert score.nats == pytest.approx(expected, rel=1e-6)


def test_scores_convert_between_units() -> None:
    score = Score(nats=20 * math.log(2), tokens=5, characters=10)
    assert score.nats_per_token == pytest.approx(4 * math.log(2))
    assert score.bits_per_char == pytest.approx(2)


# -- honesty ------------------------------------------------------------------------------


CASES = [*((cell, "char") for cell in CELLS), *(("lstm", kind) for kind in TOKENIZERS[1:])]


def engine_for(kind: str, corpus: Dataset) -> Engine:
    vocab = corpus.tokenizer.vocab_size
    model = LanguageModel(ModelConfig(vocab, parse_stack(f"{kind}:12"), 8), TrainConfig(seed=1))
    return engine_of(model)


def reading(ids: Ids, corpus: Dataset) -> Dataset:
    return replace(corpus, validation=ids)


@pytest.mark.parametrize(("cell", "tokenizer"), CASES)
def test_chances_sum_to_one_and_the_future_changes_none(
    cell: str, tokenizer: str, prose: str
) -> None:
    corpus = tokenize(text_of(prose[:5000], tokenizer), 0.1)
    corpus = replace(corpus, train=corpus.train[-8:], validation=corpus.validation[:30])
    engine, ids = engine_for(cell, corpus), corpus.validation
    costs = stateful(engine, corpus).nats
    other = np.concatenate([ids[:20], np.roll(ids[20:], 1)])
    changed = stateful(engine, reading(other, corpus)).nats
    assert np.abs(costs[:20] - changed[:20]).max() < 1e-6
    assert np.abs(costs[20:] - changed[20:]).max() > 1e-3
    for place in (0, 17):
        before = np.tile(ids[: place + 1], (corpus.tokenizer.vocab_size, 1))
        before[:, place] = np.arange(len(before))  # each token in turn
        nats = [stateful(engine, reading(row, corpus)).nats[place] for row in before]
        assert np.exp(-np.array(nats)).sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_chunks_do_not_matter(cell: str, prose: str, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = tokenize(text_of(prose[:9000]), 0.1)
    engine = engine_for(cell, corpus)
    protocols: tuple[Callable[[Engine, Dataset], TokenLosses], ...] = (stateful, windows)
    whole = [protocol(engine, corpus).nats for protocol in protocols]
    for steps in (1, 7, 100_000):
        monkeypatch.setattr(measuring, "STEPS", steps)
        for protocol, expected in zip(protocols, whole, strict=True):
            nats = protocol(engine, corpus).nats
            assert nats.mean() == pytest.approx(expected.mean(), rel=1e-6)
            # An untrained rnn-relu grows: its costs are hundreds of nats.
            assert np.abs(nats - expected).max() < (1e-3 if cell == "rnn-relu" else 1e-6)


def test_a_shuffled_text_costs_its_unigram_entropy(with_model: Path, prose: str) -> None:
    """No model can know which of some characters in random order comes next."""
    shuffled = np.random.default_rng(1).permutation(list(prose[:8000]))
    write("shuffled.txt", "".join(shuffled))
    header = read_model(with_model)
    corpus = whole_text("shuffled.txt", header)
    engine = open_engine(header, "cpu", 1)
    counts = np.unique(shuffled, return_counts=True)[1] / len(shuffled)
    entropy = -float(counts @ np.log(counts))
    for protocol in (stateful, windows):
        assert score(protocol(engine, corpus), corpus).nats_per_token >= entropy - 0.02


def test_temperature_one_changes_nothing_and_a_high_one_makes_all_alike(prose: str) -> None:
    corpus = tokenize(text_of(prose[:5000]), 0.1)
    engine = engine_for("gru", corpus)
    as_it_is, flat = tempered(engine, corpus, (1.0, 1e9))
    assert np.abs(as_it_is - stateful(engine, corpus).nats).max() < 1e-9
    assert flat == pytest.approx(math.log(corpus.tokenizer.vocab_size))


def test_bytes_and_characters_are_those_of_the_text(with_model: Path) -> None:
    text = "naïve 日本 😀 text " * 30
    write("some.txt", text)
    header = read_model(with_model)
    corpus = whole_text("some.txt", header)
    result = score(stateful(open_engine(header, "cpu", 1), corpus), corpus)
    assert (result.tokens, result.characters) == (len(text), len(text))
    assert result.utf8_bytes == pytest.approx(len(text.encode()))
    nats = result.bits_per_byte * math.log(2) * len(text.encode())
    assert nats == pytest.approx(result.nats)
    assert result.nats > 4 * 30 * math.log(1_112_064 - 200)  # the unseen have to be named


def test_the_interval_holds_the_true_mean() -> None:
    """TokenLosses drawn at random: 95 of 100 intervals hold the true mean."""
    corpus = tokenize(text_of("ab" * 20_000), 0.1)
    rng, held = np.random.default_rng(0), 0
    for _ in range(100):
        nats = rng.exponential(math.log(2), 4000)  # a mean of one bit
        result = score(TokenLosses(nats, np.zeros(4000, np.bool_)), corpus)
        assert result.margin is not None
        held += abs(result.bits_per_char - 1) < result.margin
    assert 87 <= held <= 100  # fewer than 87 by chance once in 1,500
    assert score(TokenLosses(nats, np.zeros(4000, np.bool_)), corpus, slice(0, 700)).margin is None
