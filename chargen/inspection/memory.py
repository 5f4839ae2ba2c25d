"""How far back a model remembers: its loss when it knows the last k tokens only.

At each of many places in a text the model starts from its initial state, reads the last k tokens
and is asked for the next one; beside it stands the model that has carried its state over all
before. The places are the same for every k, so that each difference is between two losses of one
token (the question of Khandelwal et al. 2018, who cut the context of LSTM models of words).

Legend of shapes: P places, B lanes, T steps, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chargen.data.corpus import Corpus
from chargen.engine import Engine
from chargen.errors import CorpusError
from chargen.evaluation.protocols import TWO_SIDED, carried
from chargen.sampling.filters import log_probabilities

PLACES = 1000
READ = 1 << 16  # tokens of the text that are read at most
PARTS = 1000  # of the work, as told on the way
CHUNK = 1 << 20  # logits held at once
NEAR = 0.01  # bits per character: what counts as nothing lost

Tokens = NDArray[np.int64]
Costs = NDArray[np.float64]


@dataclass(frozen=True)
class Known:
    """What it costs to know the last k tokens only.

    Attributes:
        k: tokens known.
        nats: mean loss of the next token.
        bits: the same in bits per character.
        rise: bits per character above the carried state.
        either_side: the rise is 95 % sure to be within so much of the true one.
    """

    k: int
    nats: float
    bits: float
    rise: float
    either_side: float


@dataclass(frozen=True)
class Memory:
    """How far back a model remembers.

    Attributes:
        places: tokens that were asked for.
        nats: mean loss of them with the carried state.
        bits: the same in bits per character.
        known: for each number of tokens known, fewest first.
    """

    places: int
    nats: float
    bits: float
    known: tuple[Known, ...]

    @property
    def enough(self) -> int | None:
        """The smallest k from which on no rise is more than ``NEAR``; None if there is none."""
        enough = None
        for known in reversed(self.known):
            if known.rise > NEAR:
                break
            enough = known.k
        return enough


def measure_memory(
    engine: Engine,
    corpus: Corpus,
    longest: int,
    progress: Callable[[int], None] = lambda parts: None,
) -> Memory:
    """Measure how the loss rises when only the last k tokens are known: k = 1, 2, 4, ...

    Args:
        engine: the model.
        corpus: its validation part is measured; what stands before it is context.
        longest: no k is more than this, nor than half of what there is.
        progress: told how many of ``PARTS`` equal parts of the work are over.

    Raises:
        CorpusError: there is no text to measure.
    """
    corpus = corpus.limited(READ)
    ids = np.concatenate([corpus.context, corpus.validation]).astype(np.int64)
    if len(ids) < 2 or not len(corpus.validation):
        raise CorpusError(f"the text has {len(corpus.validation)} tokens; 2 are needed to measure")
    lengths = _lengths(min(longest, len(ids) // 2))
    first = max(len(corpus.context), lengths[-1])
    places = np.unique(np.linspace(first, len(ids) - 1, PLACES).astype(int))  # (P,)
    work = [len(ids), *(k * len(places) for k in lengths)]
    unit = 1 / math.log(2) / corpus.characters_per_token  # bits per character in a nat a token
    naming = corpus.tokenizer.naming(ids[places])
    all_known = carried(engine, corpus).nats[places - max(1, len(corpus.context))] + naming
    known = []
    for number, k in enumerate(lengths):
        progress(PARTS * sum(work[: number + 1]) // sum(work))
        costs = costs_knowing(engine, ids, places, k, corpus.tokenizer.vocab_size) + naming
        known.append(_known(k, costs, all_known, unit))
    nats = float(all_known.mean())
    return Memory(len(places), nats, nats * unit, tuple(known))


def _lengths(longest: int) -> list[int]:
    """Return 1, 2, 4, ... up to the longest."""
    return [1 << power for power in range(longest.bit_length())]


def _known(k: int, costs: Costs, all_known: Costs, unit: float) -> Known:
    """Compare the losses (P,) of the same tokens, pair by pair."""
    rises, nats = (costs - all_known) * unit, float(costs.mean())
    error = float(rises.std(ddof=1)) / math.sqrt(len(rises)) if len(rises) > 1 else math.inf
    return Known(k, nats, nats * unit, float(rises.mean()), TWO_SIDED * error)


def costs_knowing(engine: Engine, ids: Tokens, places: Tokens, k: int, vocab_size: int) -> Costs:
    """Return -ln P of the token at each place, (P,), for a model that reads k tokens before it."""
    known = ids[places[:, None] + np.arange(-k, 0)]  # (P, k)
    lanes = max(1, CHUNK // (k * vocab_size))
    costs = []
    for start in range(0, len(places), lanes):
        batch = known[start : start + lanes]  # (B, k)
        logits, _ = engine.run(batch, engine.init_state(len(batch)))  # (B, k, V)
        scores = log_probabilities(logits[:, -1])  # (B, V)
        costs.append(-scores[np.arange(len(batch)), ids[places[start : start + lanes]]])
    return np.concatenate(costs)
