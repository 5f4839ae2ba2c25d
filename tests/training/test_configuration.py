"""The choice of model and recipe, on machines whose speed is made up."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch

from chargen.config import TrainConfig
from chargen.data.dataset import tokenize
from chargen.model.ngrams import NGramConfig
from chargen.model.options import PRESETS
from chargen.model.spec import LayerConfig, ModelConfig, count_parameters, format_stack
from chargen.training import configuration as choosing
from chargen.training.configuration import (
    Choice,
    choose,
    dropout_for,
    embedding_for,
    weight_drop_for,
)
from chargen.training.plan import ReadingTime, Timing
from tests.conftest import text_of

STACKS = tuple((LayerConfig("lstm", hidden),) * layers for layers, hidden in PRESETS.values())

READING = ReadingTime(1e-6, 1e-6, 1e-5)


def choose_on(
    monkeypatch: pytest.MonkeyPatch,
    rate: float,
    *,
    stacks: tuple[tuple[LayerConfig, ...], ...] = STACKS,
    length: int = 300_000,
    time_left: float | None = 100.0,
    keep_ngrams: bool = False,
    fine_tuning: bool = False,
    **options: Any,
) -> tuple[Choice, list[str]]:
    """Choose on a machine that does this many weights times tokens a second."""
    tried = []

    def measure(model: ModelConfig, config: TrainConfig, *rest: Any) -> Timing:
        tried.append(format_stack(model.layers))
        tokens = config.batch_size * config.bptt
        seconds = count_parameters(model) * tokens / rate
        return Timing("bfloat16", {2: seconds, 1: 2 * seconds}, READING, 1.5)

    monkeypatch.setattr(choosing, "measure", measure)
    monkeypatch.setattr(choosing, "can_run", lambda *_: True)
    dataset = tokenize(text_of("ab cd ef gh\n" * (length // 12)), 0.1)
    choice = choose(
        stacks,
        embedding=64,
        ngrams=NGramConfig((99,), tuple(range(1, dataset.tokenizer.vocab_size + 1))),
        keep_ngrams=keep_ngrams,
        fine_tuning=fine_tuning,
        config=TrainConfig(time=time_left, **options),
        dataset=dataset,
        device=torch.device("cpu"),
        threads=(2, 1),
        ends=None if time_left is None else time.monotonic() + time_left,
    )
    return choice, tried


def test_ngram_embeddings_are_for_texts_that_are_read_a_few_times(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for epochs, keep, there in ((2.0, False, True), (3.0, False, False), (9.0, True, True)):
        choice, _ = choose_on(monkeypatch, 1e13, stacks=STACKS[:1], epochs=epochs, keep_ngrams=keep)
        assert (choice.model.ngrams is not None) == there


def test_a_faster_machine_and_a_longer_time_choose_larger_models(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes = []
    for rate in (1e8, 1e9, 1e10, 1e11, 1e12, 1e13):
        choice, _ = choose_on(monkeypatch, rate)
        slower, _ = choose_on(monkeypatch, rate / 10, time_left=1000.0)
        assert slower.model.layers == choice.model.layers
        sizes.append(count_parameters(dataclasses.replace(choice.model, ngrams=None)))
    assert sizes == sorted(sizes)
    assert len(set(sizes)) >= 4


@pytest.mark.parametrize("length", [20_000, 300_000, 3_000_000])
def test_every_choice_reads_enough_and_the_next_would_not(
    monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    for rate in (1e10, 1e11, 1e12):
        choice, _ = choose_on(monkeypatch, rate, length=length)
        number = STACKS.index(choice.model.layers)
        assert needed(choice.model) <= choice.plan.tokens
        larger = ModelConfig(choice.model.vocab_size, STACKS[number + 1], 64)
        tokens = int(0.95 * 99 * rate / count_parameters(larger))  # evaluations take the rest
        assert tokens < needed(larger)
        assert choice.reasons["model"].endswith(" tokens per parameter, one size up gets too few")


def needed(model: ModelConfig) -> float:
    """Return the tokens that a model has to read by the rules as the page states them."""
    weights = count_parameters(model) - model.vocab_size * (64 + model.head_inputs + 1)
    if model.layers[0].hidden > 512:
        return 3 * weights
    return 1.2 * weights


@pytest.mark.parametrize(
    ("vocab_size", "width"), [(1, 64), (65, 64), (260, 96), (1000, 160), (2969, 256), (10**6, 512)]
)
def test_more_different_tokens_get_a_wider_embedding(vocab_size: int, width: int) -> None:
    assert embedding_for(vocab_size) == width


def test_hopeless_candidates_are_not_even_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    choice, tried = choose_on(monkeypatch, 1e8)
    assert choice.model.layers == STACKS[0]
    assert tried == ["lstm:128"]


def test_measuring_takes_a_tenth_of_the_time_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "PROBING", 0.0)
    _, tried = choose_on(monkeypatch, 1e14)
    assert tried == ["lstm:128"]


def test_the_largest_is_taken_where_there_is_time_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    choice, tried = choose_on(monkeypatch, 1e14)
    assert choice.model.layers == STACKS[-1]
    assert len(tried) == len(STACKS)
    assert choice.reasons["model"].endswith("enough for the largest")


def test_what_is_given_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    stack = (LayerConfig("gru", 33),)
    choice, tried = choose_on(
        monkeypatch, 1e10, stacks=(stack,), dropout=0.3, weight_drop=0.1, learning_rate=0.002
    )
    assert tried == ["gru:33"]
    assert choice.model.layers == stack
    config = choice.config
    assert (config.dropout, config.weight_drop, config.learning_rate) == (0.3, 0.1, 0.002)
    assert choice.reasons["model"] == choice.reasons["recipe"] == "as given"


def test_what_is_open_is_filled_in(monkeypatch: pytest.MonkeyPatch) -> None:
    choice, _ = choose_on(monkeypatch, 1e11, length=100_000)
    epochs = choice.plan.steps * choice.plan.batch_size * choice.plan.bptt / 90_000
    assert choice.config.dropout == dropout_for(epochs)
    assert choice.config.weight_drop == weight_drop_for(epochs)
    assert choice.config.learning_rate == 8e-3
    assert choice.reasons["recipe"] == f"{epochs:.1f} epochs"
    assert choice.reasons["plan"] == "1.5 times as fast"


def test_steps_are_a_budget_as_time_is(monkeypatch: pytest.MonkeyPatch) -> None:
    few, _ = choose_on(monkeypatch, 1e11, time_left=None, steps=100)
    many, _ = choose_on(monkeypatch, 1e11, time_left=None, steps=100_000)
    assert count_parameters(few.model) < count_parameters(many.model)
    assert many.plan.steps == 100_000


def test_trained_weights_take_few_and_small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    def tuned(**options: Any) -> Choice:
        given = {"keep_ngrams": True, "fine_tuning": True, "time_left": 1e6, **options}
        return choose_on(monkeypatch, 1e12, stacks=STACKS[:1], length=100_000, **given)[0]

    usual, short = tuned(), tuned(epochs=1)
    epochs = usual.plan.tokens / 90_000
    assert 5.9 < epochs < 6.1  # and not the million seconds
    assert short.config.learning_rate == 2e-3  # a quarter
    assert 1e-3 < (usual.config.learning_rate or 0) < 1.5e-3
    assert (usual.config.dropout, usual.config.ngram_dropout) == (0.3, 0.5)
    assert usual.reasons["recipe"] == "fine-tuning, 6.0 epochs"
    given = tuned(steps=7, learning_rate=0.01, dropout=0.1, ngram_dropout=0.2).config
    assert (given.learning_rate, given.dropout, given.ngram_dropout) == (0.01, 0.1, 0.2)


@pytest.mark.parametrize("share_for", [dropout_for, weight_drop_for])
def test_more_is_dropped_the_more_passes_there_are(share_for: Callable[[float], float]) -> None:
    shares = [share_for(epochs) for epochs in (0.1, 1, 3, 6, 12, 25, 50, 1e6)]
    assert shares == sorted(shares)
    assert shares[0] == shares[1] < shares[3 if share_for is dropout_for else 4] < shares[5]
    assert 0 <= shares[0] < shares[-1] < 0.8
