"""How far back a model remembers: its loss when it knows the last k tokens only.

At each of many places in a text the model starts from its initial state, reads the last k tokens
and is asked for the next one; beside it stands the stateful model, which has read all
before. The places are the same for every k, so that each difference is between two losses of one
token (the question of Khandelwal et al. 2018, who cut the context of LSTM models of words).

Legend of shapes: P places, B batch size, T steps, V vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from chargen.data.dataset import Segment
from chargen.engine import Engine
from chargen.errors import CorpusError
from chargen.evaluation.nll import Floats, Tokens, token_nll
from chargen.evaluation.protocols import TWO_SIDED, OnProgress, stateful

PLACES = 1000
READ = 1 << 16  # tokens of the text that are read at most
PARTS = 1000  # of the work, as told on the way
CHUNK = 1 << 20  # logits held at once
NEAR = 0.01  # bits per character: what counts as nothing lost


@dataclass(frozen=True)
class Known:
    """What it losses to know the last k tokens only.

    Attributes:
        k: tokens known.
        nats: mean loss of the next token.
        bits: the same in bits per character.
        rise: bits per character above the stateful model.
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
        nats: mean loss of them stateful.
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
    segment: Segment,
    longest: int,
    progress: OnProgress = lambda parts: None,
) -> Memory:
    """Measure how the loss rises when only the last k tokens are known: k = 1, 2, 4, ...

    Args:
        engine: the model.
        segment: what is measured.
        longest: no k is more than this, nor than half of what there is.
        progress: told how many of ``PARTS`` equal parts of the work are over.

    Raises:
        CorpusError: there is no text to measure.
    """
    segment = segment.first(READ)
    ids, before = segment.with_context, len(segment.context)
    if len(ids) < 2 or not len(segment):
        raise CorpusError(f"the text has {len(segment)} tokens; 2 are needed to measure")
    lengths = _lengths(min(longest, len(ids) // 2))
    first = max(before, lengths[-1])
    places = np.unique(np.linspace(first, len(ids) - 1, PLACES).astype(int))  # (P,)
    work = [len(ids), *(k * len(places) for k in lengths)]
    unit = 1 / math.log(2) / segment.characters_per_token  # bits per character in a nat a token
    unknown_nll = segment.tokenizer.unknown_nll(ids[places])
    all_known = stateful(engine, segment).nll[places - before] + unknown_nll
    known = []
    for number, k in enumerate(lengths):
        progress(PARTS * sum(work[: number + 1]) // sum(work))
        losses = losses_knowing(engine, ids, places, k, segment.tokenizer.vocab_size)
        known.append(_known(k, losses + unknown_nll, all_known, unit))
    nats = float(all_known.mean())
    return Memory(len(places), nats, nats * unit, tuple(known))


def _lengths(longest: int) -> list[int]:
    """Return 1, 2, 4, ... up to the longest."""
    return [1 << power for power in range(longest.bit_length())]


def _known(k: int, losses: Floats, all_known: Floats, unit: float) -> Known:
    """Compare the losses (P,) of the same tokens, pair by pair."""
    rises, nats = (losses - all_known) * unit, float(losses.mean())
    error = float(rises.std(ddof=1)) / math.sqrt(len(rises)) if len(rises) > 1 else math.inf
    return Known(k, nats, nats * unit, float(rises.mean()), TWO_SIDED * error)


def losses_knowing(engine: Engine, ids: Tokens, places: Tokens, k: int, vocab_size: int) -> Floats:
    """Return -ln P of the token at each place, (P,), for a model that reads k tokens before it."""
    known = ids[places[:, None] + np.arange(-k, 0)]  # (P, k)
    rows, losses = max(1, CHUNK // (k * vocab_size)), []
    for start in range(0, len(places), rows):
        batch, wanted = known[start : start + rows], ids[places[start : start + rows]]  # (B, k)
        logits, _ = engine.run(batch, engine.init_state(len(batch)))  # (B, k, V)
        losses.append(token_nll(logits[:, -1], wanted)[0])
    return np.concatenate(losses)
