"""Engine of a network mixed with n-gram counts, which know what the network has not learned yet.

The mixture is log-linear: a product of the experts' probabilities (Hinton 1999), each to a power,

::

    P(c) ~ P_network(c)^a P_counts(c)^b exp(w_l [c is what the longest match expects])

where l tells how long the match has held. Such weights can be fitted exactly, for the loss is
convex in them (``evaluation.mixing``). The state is the network's, and that of the counts.

Legend of shapes: B batch size, T steps, V vocabulary, N order of the counts.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chargen.engine import Engine, Logits, State
from chargen.engine.labels import begin
from chargen.model.counts import NGramCounts
from chargen.model.match import WIDTH, Numbers
from chargen.model.saved import Mixture

TINY = np.finfo(np.float32).tiny  # a token that the counts do not expect has a logarithm too


class Evidence(NamedTuple):
    """What the counts say of the next token.

    Attributes:
        counted: ln P_counts (B, T, V).
        expected: token that the longest match expects, -1 for none, and how long it has held; of
            each of the B T places.
    """

    counted: Logits
    expected: list[tuple[int, int]]


def evidence(counts: NGramCounts, state: Numbers) -> Evidence:
    """Return what the counts say in states (B, T, N+1)."""
    batch, steps, width = state.shape
    places = state.reshape(batch * steps, width)
    counted = counts.probabilities(places)
    np.log(np.maximum(counted, TINY, out=counted), out=counted)
    return Evidence(
        counted.reshape(batch, steps, counts.vocab_size), counts.match.expected(places[:, -WIDTH:])
    )


def mix(logits: Logits, known: Evidence, mixture: Mixture) -> Logits:
    """Return scores (B, T, V), unnormalised log probabilities, of the network and the counts."""
    mixed: Logits = np.multiply(logits, np.float32(mixture.network), order="C")
    mixed += np.float32(mixture.counts) * known.counted
    rows = mixed.reshape(-1, mixed.shape[-1])
    for row, (token, length) in zip(rows, known.expected, strict=True):
        if token >= 0:
            row[token] += mixture.match[length]
    return mixed


class MixtureEngine:
    """Runs a network and n-gram counts side by side.

    Args:
        engine: of the network.
        counts: of the training text.
        mixture: their weights.
    """

    def __init__(self, engine: Engine, counts: NGramCounts, mixture: Mixture) -> None:
        self._engine, self._counts, self._mixture = engine, counts, mixture

    def init_state(self, batch: int) -> State:
        """Return the initial state for a batch of B texts."""
        return (*self._engine.init_state(batch), self._unknown(batch))

    def begin(self, labels: NDArray[np.integer]) -> State:
        """Return the initial state for texts with these labels (B,), -1 for none."""
        return (*begin(self._engine, labels), self._unknown(len(labels)))

    def _unknown(self, batch: int) -> NDArray[np.float32]:
        return self._counts.start(batch)[None].astype(np.float32)

    def run(self, ids: Numbers, state: State) -> tuple[Logits, State]:
        """Return scores (B, T, V) and the last state for ids (B, T)."""
        *own, numbers = state
        logits, last = self._engine.run(ids, tuple(own))
        after = self._counts.advance(numbers[0].astype(np.int64), ids)  # (B, T, N+1)
        mixed = mix(logits, evidence(self._counts, after), self._mixture)
        return mixed, (*last, after[None, :, -1].astype(np.float32))  # below 2^24: exact
