"""How well a model in training knows a text: its loss in nats per token and bits per character.

During training the text is read in *lanes*: cut in 32 that are read side by side, each warmed on
the 256 tokens before it, which is quick. At the end it is read once more in both protocols of
``evaluation.protocols``, by the engine that will read it ever after.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from chargen.data.corpus import WARM, Corpus
from chargen.engine import Engine, make_engine
from chargen.evaluation.baselines import COUNTED, best_order, counted
from chargen.evaluation.protocols import (
    SCORED,
    Score,
    carried,
    half_interval,
    score,
    windows,
    with_context,
)
from chargen.model.cells import State
from chargen.model.language_model import Dropout, LanguageModel
from chargen.tokenizers import Ids

LANES = 32
FINAL = (
    *("final_val_loss", "final_val_bits_per_char", "final_window_loss"),
    *("final_train_loss", "final_test_loss", "int8_bits_per_char", "int8_margin"),
)
QUANTISED = 2048  # tokens on which the cost of int8 weights is measured
SEEN = 1 << 17  # tokens of the training part that are scored at most
CHUNK = 1 << 22  # logits, or numbers in a layer, held at once


def score_lanes(model: LanguageModel, corpus: Corpus, limit: int | None = None) -> Score:
    """Score the validation part in 32 warmed lanes.

    Args:
        model: the model, on its device; the caller sets the precision.
        corpus: what to score.
        limit: score about this many tokens only, spread evenly over the text.
    """
    first, ids = with_context(corpus)
    stride = -(-(len(ids) - first) // LANES)
    length = stride if limit is None else max(1, min(stride, limit // LANES))
    warm = min(WARM, first - 1)
    starts = np.arange(first, len(ids), stride)  # (B,) the first target of each lane
    places = starts[:, None] + np.arange(-1 - warm, length)  # (B, warm + length + 1)
    counted = places < len(ids)
    counted[:, : warm + 1] = False
    tokens = ids[np.minimum(places, len(ids) - 1)]
    return _score(model, corpus, tokens, counted[:, 1:])


def score_seen(model: LanguageModel, corpus: Corpus) -> Score:
    """Score the end of the training part, as much as there is for validation, in lanes."""
    count = max(1, min(len(corpus.validation), len(corpus.train) // 2, SEEN))
    seen = replace(corpus, train=corpus.train[:-count], validation=corpus.train[-count:])
    return score_lanes(model, seen)


def final_losses(
    model: LanguageModel,
    corpus: Corpus,
    threads: int | None = None,
    overdue: Callable[[], bool] = lambda: False,
) -> dict[str, float | None]:
    """Return what the end of a run tells, by the names in ``metrics.jsonl``.

    All in nats per token but for ``final_val_bits_per_char``: the validation part with the
    carried state and in fresh windows, as much of the training part, and the test part; of
    each part ``SCORED`` tokens at most. And what int8 weights cost, in bits per character.

    Args:
        model: the weights to judge.
        corpus: the text and its parts.
        threads: CPU threads; None finds the fastest number.
        overdue: tells whether the time is over; what the end can do without is None then.
    """
    losses: dict[str, float | None] = dict.fromkeys(FINAL)
    corpus, engine = corpus.limited(SCORED), engine_of(model, threads)
    if len(corpus.test):
        tested = corpus.for_testing()
        losses["final_test_loss"] = score(carried(engine, tested), tested).nats_per_token
    if len(corpus.validation):
        whole = score(carried(engine, corpus), corpus)
        losses["final_val_loss"] = whole.nats_per_token
        losses["final_val_bits_per_char"] = whole.bits_per_char
        if not overdue():
            losses["final_train_loss"] = score_seen(model, corpus).nats_per_token
        if not overdue():
            losses["int8_bits_per_char"], losses["int8_margin"] = cost_of_int8(model, corpus)
        if not overdue():
            losses["final_window_loss"] = score(windows(engine, corpus), corpus).nats_per_token
    return losses


def engine_of(model: LanguageModel, threads: int | None = None) -> Engine:
    """Return an engine that runs a model as it is now."""
    device = model.head.weight.device.type
    return make_engine(model.weights(), model.config, device, threads)


def cost_of_int8(model: LanguageModel, corpus: Corpus) -> tuple[float, float | None]:
    """Return how many bits per character more the int8 engine needs than the float32 one.

    Both read the beginning of the validation part a token at a time, as they do when they write.
    The second number is half of its 95 % interval, where there is enough text.
    """
    ids, weights = corpus.validation[: QUANTISED + 1], model.weights()
    exact, coarse = (
        read_singly(make_engine(weights, model.config, "cpu", int8=int8), ids)
        for int8 in (False, True)
    )
    nats, characters = coarse - exact, np.full(len(exact), corpus.characters_per_token)
    bits = float(nats.sum()) / float(characters.sum()) / math.log(2)
    return bits, half_interval(nats, characters)


def read_singly(engine: Engine, ids: Ids) -> NDArray[np.float64]:
    """Return -ln P of each token but the first, (T,), read one token a call from no state."""
    state, nats = engine.init_state(1), np.zeros(max(1, len(ids) - 1))
    for step, (token, target) in enumerate(itertools.pairwise(ids.tolist())):
        logits, state = engine.run(np.array([[token]]), state)
        row = logits[0, 0].astype(np.float64)
        nats[step] = np.logaddexp.reduce(row) - row[target]
    return nats


def score_counting(corpus: Corpus) -> tuple[int, Score]:
    """Score the validation part by counting alone, with ``baselines.counted``.

    Returns:
        The order that does best, and its score: the floor that a model has to beat. Of very
        long texts only the tokens next to the border are counted and scored.
    """
    corpus = corpus.limited(COUNTED)
    costs = counted(corpus.train, corpus)
    order = best_order(costs)
    return order, _total(corpus, float(costs[order - 1].sum()), corpus.validation)


@torch.no_grad()
def _score(model: LanguageModel, corpus: Corpus, tokens: Ids, counted: NDArray[np.bool_]) -> Score:
    """Sum the costs of ``tokens[:, 1:]`` (B, T) where ``counted`` (B, T)."""
    device = model.head.weight.device
    batch, steps = counted.shape
    state, nats = model.init_state(batch), 0.0
    widest = max(model.config.vocab_size, *(4 * cell.hidden_size for cell in model.cells))
    chunk = max(1, CHUNK // (batch * widest))
    for start in range(0, steps, chunk):
        window = tokens[:, start : start + chunk + 1].astype(np.int64)
        keep = torch.from_numpy(counted[:, start : start + chunk]).to(device)
        costs, state = token_costs(model, torch.from_numpy(window).to(device), state)
        nats += float(costs[keep].double().sum())
    return _total(corpus, nats, tokens[:, 1:][counted])


def token_costs(
    model: nn.Module, tokens: Tensor, state: State, dropout: Dropout | None = None
) -> tuple[Tensor, State]:
    """Return -ln P of each token but the first, (B, T), for tokens (B, T + 1)."""
    logits, state = model(tokens[:, :-1], state, dropout)  # (B, T, V)
    logits = logits.float().transpose(1, 2)  # (B, V, T)
    return torch.nn.functional.cross_entropy(logits, tokens[:, 1:], reduction="none"), state


def _total(corpus: Corpus, nats: float, targets: Ids) -> Score:
    """Add what naming the unknown characters costs, and count the characters."""
    nats += float(corpus.tokenizer.naming(targets).sum())
    return Score(nats, targets.size, targets.size * corpus.characters_per_token)
