"""Memory of a model: its loss when it knows only the last k tokens.

At many positions in a text the model starts from its initial state, reads the last k tokens and
predicts the next one. Its loss is compared with that of the stateful model, which has read the
whole text before. The positions are the same for every k, so each difference is between two losses
of the same token. Khandelwal et al. (2018) truncate the context of word-level LSTMs in this way.

Legend of shapes: P positions, B batch size, T steps, V vocabulary.
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
READ = 1 << 16  # most tokens read of the text
PARTS = 1000  # into which the progress is divided
CHUNK = 1 << 20  # logits in memory at once
NEAR = 0.01  # bits per character: a rise that counts as none


@dataclass(frozen=True)
class Known:
    """Loss with only the last k tokens known.

    Attributes:
        k: number of known tokens.
        nats: mean loss of the next token.
        bits: the same in bits per character.
        rise: bits per character above the stateful model.
        either_side: half-width of the 95 % confidence interval of the rise.
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
        places: number of predicted tokens.
        nats: their mean loss under the stateful model.
        bits: the same in bits per character.
        known: loss for each k, the smallest first.
    """

    places: int
    nats: float
    bits: float
    known: tuple[Known, ...]

    @property
    def enough(self) -> int | None:
        """The smallest k from which no rise exceeds ``NEAR``; None if there is none."""
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
    """Measure how the loss rises when only the last k tokens are known, for k = 1, 2, 4, ...

    Args:
        engine: the model.
        segment: the text to measure on.
        longest: the largest k, which is at most half of the text.
        progress: called with the number of ``PARTS`` that are done.

    Raises:
        CorpusError: there is no text to measure.
    """
    segment = segment.first(READ)
    ids, before = segment.with_context, len(segment.context)
    if len(ids) < 2 or not len(segment):
        raise CorpusError(f"the text has {len(segment)} tokens; 2 are needed")
    lengths = _lengths(min(longest, len(ids) // 2))
    first = max(before, lengths[-1])
    places = np.unique(np.linspace(first, len(ids) - 1, PLACES).astype(int))  # (P,)
    work = [len(ids), *(k * len(places) for k in lengths)]
    unit = 1 / math.log(2) / segment.characters_per_token  # bits per character per nat per token
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
    """Return -ln P of the token at each position, (P,), given only the k tokens before it."""
    known = ids[places[:, None] + np.arange(-k, 0)]  # (P, k)
    rows, losses = max(1, CHUNK // (k * vocab_size)), []
    for start in range(0, len(places), rows):
        batch, wanted = known[start : start + rows], ids[places[start : start + rows]]  # (B, k)
        logits, _ = engine.run(batch, engine.init_state(len(batch)))  # (B, k, V)
        losses.append(token_nll(logits[:, -1], wanted)[0])
    return np.concatenate(losses)
