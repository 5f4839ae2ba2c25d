"""Losses of a text under a model: the same, honestly, by every protocol."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chargen.config import TOKENIZERS, TrainConfig
from chargen.data.dataset import Segment, encode_dataset, tokenize
from chargen.engine import Engine, State, open_engine
from chargen.evaluation import nll
from chargen.evaluation.baselines import ngram_baseline
from chargen.evaluation.final import final_losses
from chargen.evaluation.heldout import whole_text
from chargen.evaluation.protocols import Score, TokenLosses, score, stateful, stateless, tempered
from chargen.evaluation.validation import engine_of, score_streams
from chargen.model.language_model import LanguageModel
from chargen.model.loss import token_losses
from chargen.model.saved import read_model
from chargen.model.spec import CELLS, ModelConfig, parse_stack
from chargen.tokenizers import Tokenizer, build_tokenizer
from tests.conftest import text_of, write
from tests.model.test_language_model import VOCAB, model_of


def stateful_score(model: LanguageModel, segment: Segment) -> Score:
    return score(stateful(engine_of(model), segment), segment)


def stateless_score(model: LanguageModel, segment: Segment) -> Score:
    return score(stateless(engine_of(model), segment), segment)


def held_out(text: str, tokenizer: str = "char") -> Segment:
    """Return the last tenth of a text."""
    return tokenize(text_of(text, tokenizer), 0.1).validation


# -- protocols ----------------------------------------------------------------------------


def test_a_model_that_knows_nothing_pays_for_the_whole_vocabulary() -> None:
    segment = held_out("abcdefghij" * 300)
    model = model_of("lstm:6")
    with torch.no_grad():
        model.head.weight.zero_()
    for protocol in (score_streams, stateful_score, stateless_score):
        found = protocol(model, segment)
        assert found.tokens == found.characters == 300
        assert found.nats_per_token == pytest.approx(math.log(VOCAB))
        assert found.bits_per_char == pytest.approx(math.log2(VOCAB))


@pytest.mark.parametrize("size", [40, 333, 3000, 20011])
def test_streams_and_one_pass_score_each_token_once(size: int, prose: str) -> None:
    segment = held_out(prose[:size], "byte")
    model = LanguageModel(ModelConfig(256, parse_stack("lstm:6"), 5), TrainConfig(seed=1))
    streams, one_pass = score_streams(model, segment), stateful_score(model, segment)
    assert streams.tokens == one_pass.tokens == len(segment)
    # An untrained model forgets in less than the 256 tokens that warm a stream.
    assert streams.nats == pytest.approx(one_pass.nats, rel=1e-5)


def test_the_stateful_score_is_the_sum_of_the_losses_of_one_pass(prose: str) -> None:
    dataset = tokenize(text_of(prose[:5000], "byte"), 0.1)
    model = LanguageModel(ModelConfig(256, parse_stack("gru:6"), 5), TrainConfig(seed=1))
    ids = np.concatenate([dataset.train[-256:], dataset.validation.ids]).astype(np.int64)
    with torch.no_grad():
        logits, _ = model(torch.from_numpy(ids[None]), model.init_state(1))
    losses = -logits[0].log_softmax(-1)[np.arange(len(ids) - 1), ids[1:]]
    expected = float(losses[255:].double().sum())
    assert stateful_score(model, dataset.validation).nats == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("size", [600, 2560, 100_003])
def test_stateless_windows_begin_anew_every_256_tokens(size: int, prose: str) -> None:
    dataset = tokenize(text_of((prose * 3)[:size], "byte"), 0.1)
    model = LanguageModel(ModelConfig(256, parse_stack("lstm:6"), 5), TrainConfig(seed=1))
    ids = np.concatenate([dataset.train[-1:], dataset.validation.ids]).astype(np.int64)
    expected = 0.0
    for start in range(0, len(ids) - 1, 256):
        window = torch.from_numpy(ids[None, start : start + 257])
        with torch.no_grad():
            expected += float(token_losses(model, window, model.init_state(1))[0].sum())
    found = stateless_score(model, dataset.validation)
    assert found.tokens == len(dataset.validation)
    assert found.nats == pytest.approx(expected, rel=1e-6)


def test_the_ngram_baseline_scores_each_token_once_and_names_its_order() -> None:
    dataset = tokenize(text_of("abcab" * 600 + "z"), 0.1)
    order, counted, found, _ = ngram_baseline(dataset)
    assert (order, counted) == (4, len(dataset.train))  # three characters tell the next one
    assert found is not None
    assert found.tokens == found.characters == len(dataset.validation) == 301
    expected = math.log(1_112_064 - 3)  # the choice of z among all unknown characters
    assert expected < found.nats < expected + 30


def test_a_limit_scores_part_of_every_stream(prose: str) -> None:
    segment = held_out(prose, "byte")
    model = LanguageModel(ModelConfig(256, parse_stack("lstm:6"), 5), TrainConfig(seed=1))
    part, whole = score_streams(model, segment, 320), score_streams(model, segment)
    assert part.tokens == 320
    assert part.nats_per_token == pytest.approx(whole.nats_per_token, rel=0.05)


def test_an_unknown_character_costs_the_choice_among_all_others() -> None:
    segment = held_out("ab" * 450 + "ab" * 49 + "zz")
    model = LanguageModel(ModelConfig(3, parse_stack("rnn:2"), 2), TrainConfig(seed=1))
    with torch.no_grad():
        model.head.weight.zero_()
    expected = 100 * math.log(3) + 2 * math.log(1_112_064 - 2)
    for protocol in (stateful_score, score_streams, stateless_score):
        found = protocol(model, segment)
        assert found.tokens == 100
        assert found.nats == pytest.approx(expected, rel=1e-6)


def test_a_training_part_of_one_token_has_no_loss_of_its_own() -> None:
    dataset = tokenize(text_of("ab" * 10, "bpe"), 0.1, 0.1)
    assert [len(part) for part in (dataset.train, dataset.validation, dataset.test)] == [1, 1, 1]
    config = ModelConfig(dataset.tokenizer.vocab_size, parse_stack("lstm:6"), 5)
    losses, mixture = final_losses(LanguageModel(config, TrainConfig(seed=1)), dataset, 1)
    assert mixture is None
    missing = [name for name, loss in losses.items() if loss is None]
    assert missing == [
        "final_train_loss",
        "int8_margin",
        "label_accuracy",
        "label_network",
        "label_counts",
    ]


def test_scores_convert_between_units() -> None:
    found = Score(nats=20 * math.log(2), tokens=5, characters=10)
    assert found.nats_per_token == pytest.approx(4 * math.log(2))
    assert found.bits_per_char == pytest.approx(2)


# -- honesty ------------------------------------------------------------------------------


CASES = [*((cell, "char") for cell in CELLS), *(("lstm", kind) for kind in TOKENIZERS[1:])]


def engine_for(kind: str, segment: Segment) -> Engine:
    vocab = segment.tokenizer.vocab_size
    model = LanguageModel(ModelConfig(vocab, parse_stack(f"{kind}:12"), 8), TrainConfig(seed=1))
    return engine_of(model)


@pytest.mark.parametrize(("cell", "tokenizer"), CASES)
def test_probabilities_sum_to_one_and_the_future_changes_none(
    cell: str, tokenizer: str, prose: str
) -> None:
    segment = held_out(prose[:5000], tokenizer).first(30)
    segment = replace(segment, context=segment.context[-8:])
    engine, ids = engine_for(cell, segment), segment.ids
    losses = stateful(engine, segment).nll
    other = np.concatenate([ids[:20], np.roll(ids[20:], 1)])
    changed = stateful(engine, replace(segment, ids=other)).nll
    assert np.abs(losses[:20] - changed[:20]).max() < 1e-6
    assert np.abs(losses[20:] - changed[20:]).max() > 1e-3
    for place in (0, 17):
        before = np.tile(ids[: place + 1], (segment.tokenizer.vocab_size, 1))
        before[:, place] = np.arange(len(before))  # each token in turn
        each = [stateful(engine, replace(segment, ids=row)).nll[place] for row in before]
        assert np.exp(-np.array(each)).sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_chunks_do_not_matter(cell: str, prose: str, monkeypatch: pytest.MonkeyPatch) -> None:
    segment = held_out(prose[:9000])
    engine, vocab = engine_for(cell, segment), segment.tokenizer.vocab_size
    windows = -(-len(segment) // 256)
    protocols: tuple[tuple[Callable[[Engine, Segment], TokenLosses], int], ...] = (
        (stateful, 1),
        (stateless, windows),
    )
    whole = [protocol(engine, segment).nll for protocol, _ in protocols]
    for steps in (1, 7, 100_000):
        found = [stateful(engine, segment, most=steps).nll]
        expected = [whole[0]]
        for (protocol, batch), losses in zip(protocols, whole, strict=True):
            with monkeypatch.context() as patched:
                patched.setattr(nll, "LOGITS", steps * batch * vocab)
                found.append(protocol(engine, segment).nll)
            expected.append(losses)
        for one, other in zip(found, expected, strict=True):
            assert one.mean() == pytest.approx(other.mean(), rel=1e-6)
            # An untrained rnn-relu grows: its losses are hundreds of nats.
            assert np.abs(one - other).max() < (1e-3 if cell == "rnn-relu" else 1e-6)


@pytest.mark.parametrize("most", [1, 7, 1024])
def test_an_engine_is_called_with_so_many_tokens_at_most(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = np.arange(3 * 41).reshape(3, 41) % 5
    whole = np.random.default_rng(1).normal(size=(3, 40, 5)).astype(np.float32)
    calls: list[int] = []

    class Engine:
        def init_state(self, batch: int) -> State:
            return (np.zeros((1, batch, 1), np.float32),)

        def run(self, tokens: np.ndarray, state: State) -> tuple[np.ndarray, State]:
            start = int(state[0][0, 0, 0])
            calls.append(tokens.shape[1])
            end = start + tokens.shape[1]
            assert np.array_equal(tokens, ids[:, start:end])
            return whole[:, start:end], (state[0] + tokens.shape[1],)

    monkeypatch.setattr(nll, "LOGITS", 3 * 5 * 20)
    parts = list(nll.read(Engine(), ids, most))
    assert max(calls) <= min(most, 20)
    assert sum(calls) == 40
    for steps, logits in parts:
        assert np.array_equal(logits, whole[:, steps])


def test_a_shuffled_text_costs_its_unigram_entropy(with_model: Path, prose: str) -> None:
    """No model can know which of some characters in random order comes next."""
    shuffled = np.random.default_rng(1).permutation(list(prose[:8000]))
    write("shuffled.txt", "".join(shuffled))
    saved = read_model(with_model)
    segment = whole_text("shuffled.txt", saved)
    engine = open_engine(saved, "cpu", 1)
    counts = np.unique(shuffled, return_counts=True)[1] / len(shuffled)
    entropy = -float(counts @ np.log(counts))
    for protocol in (stateful, stateless):
        assert score(protocol(engine, segment), segment).nats_per_token >= entropy - 0.02


def test_temperature_one_changes_nothing_and_a_high_one_makes_all_alike(prose: str) -> None:
    segment = held_out(prose[:5000])
    engine = engine_for("gru", segment)
    as_it_is, flat = tempered(engine, segment, (1.0, 1e9))
    assert np.abs(as_it_is - stateful(engine, segment).nll).max() < 1e-9
    assert flat == pytest.approx(math.log(segment.tokenizer.vocab_size))


def test_bytes_and_characters_are_those_of_the_text(with_model: Path) -> None:
    text = "naïve 日本 😀 text " * 30
    write("some.txt", text)
    saved = read_model(with_model)
    segment = whole_text("some.txt", saved)
    result = score(stateful(open_engine(saved, "cpu", 1), segment), segment)
    assert (result.tokens, result.characters) == (len(text), len(text))
    assert result.bytes == pytest.approx(len(text.encode()))
    nats = result.bits_per_byte * math.log(2) * len(text.encode())
    assert nats == pytest.approx(result.nats)
    assert result.nats > 4 * 30 * math.log(1_112_064 - 200)  # those of the unknown characters


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_a_score_has_the_characters_and_bytes_of_its_text(tokenizer: str, prose: str) -> None:
    text = "naïve “words” – 世界 " * 20 + prose[:3000]
    segment = held_out(text[::-1], tokenizer)
    found = score(TokenLosses(np.ones(len(segment))), segment)
    assert found.characters == pytest.approx(segment.characters, abs=1)
    assert found.bytes == pytest.approx(segment.bytes)


@functools.cache
def learned(kind: str) -> Tokenizer:
    """Return a tokenizer of a text without spaces and most other characters."""
    return build_tokenizer(kind, "anna\nbert\ncarla\ndora\n" * 20, 300)


@pytest.mark.parametrize("kind", TOKENIZERS)
@given(
    text=st.text(st.sampled_from("an rz\n.\u2581\u00e9\u65e5\U0001f389"), min_size=1),
    data=st.binary(min_size=1),
)
@settings(max_examples=40, deadline=None)
def test_a_score_counts_the_true_bytes(kind: str, text: str, data: bytes) -> None:
    content = data if kind == "byte" else text.encode()
    whole = encode_dataset(text_of(content, kind), learned(kind), 1.0).validation
    found = score(TokenLosses(np.ones(len(whole))), whole)
    characters = len(content.decode("utf-8", "surrogateescape"))
    assert (whole.characters, whole.bytes) == (characters, len(content))
    assert found.characters == characters
    assert found.bytes == pytest.approx(len(content))


def test_the_interval_holds_the_true_mean() -> None:
    """Of losses drawn at random, 95 of 100 intervals hold the true mean."""
    segment = held_out("ab" * 20_000)
    rng, held = np.random.default_rng(0), 0
    for _ in range(100):
        losses = rng.exponential(math.log(2), 4000)  # a mean of one bit
        result = score(TokenLosses(losses, np.zeros(4000, np.bool_)), segment)
        assert result.margin is not None
        held += abs(result.bits_per_char - 1) < result.margin
    assert 87 <= held <= 100  # fewer than 87 by chance once in 1,500
    few = score(TokenLosses(losses, np.zeros(4000, np.bool_)), segment, slice(0, 700))
    assert few.margin is None
