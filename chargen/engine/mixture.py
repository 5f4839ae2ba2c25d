"""Engine of a network mixed with n-gram counts, which know what the network has not learned yet.

The mixture is log-linear: a product of the experts' probabilities (Hinton 1999), each to a power,

::

    P(c) ~ P_network(c)^a P_counts(c)^b P_label(c)^d exp(w_l [c is what the longest match expects])

where P_label counts the texts of the same label, if there are labels, and l tells how long the
match has held. Such weights can be fitted exactly, for the loss is convex in them
(``evaluation.mixing``). The state is the network's, and that of the counts.

Legend of shapes: B batch size, T steps, V vocabulary, N order of the counts, L labels.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chargen.engine import Engine, Logits, State
from chargen.engine.labels import LabelEngine, begin
from chargen.model.counts import NGramCounts
from chargen.model.match import WIDTH, Numbers
from chargen.model.ngram_table import Probabilities
from chargen.model.saved import Mixture

Weights = NDArray[np.float32]
TINY = np.finfo(np.float32).tiny  # a token that the counts do not expect has a logarithm too


class Evidence(NamedTuple):
    """What the counts say of the next token.

    Attributes:
        counted: ln P_counts, and ln P_label where there are labels, (B, T, V) each.
        expected: token that the longest match expects, -1 for none, and how long it has held; of
            each of the B T places.
    """

    counted: tuple[Logits, ...]
    expected: list[tuple[int, int]]


def start(counts: NGramCounts, weights: Weights | None, batch: int) -> Numbers:
    """Return the state of counts before the beginning of B texts, with these labels (B, L)."""
    state = counts.start(batch)
    if counts.labels is None:
        return state
    weights = (
        np.zeros((batch, counts.labels.table.roots), np.float32) if weights is None else weights
    )
    return np.concatenate([state, counts.labels.start(weights)], axis=1)


def follow(
    counts: NGramCounts, state: Numbers, ids: Numbers, weights: Weights | None
) -> tuple[Evidence, Numbers]:
    """Return what the counts say after each of ids (B, T), and their last state.

    Args:
        counts: of all texts, and perhaps of those of each label.
        state: before the first of them.
        ids: tokens.
        weights: of the labels of each text (B, L), where there are labels.
    """
    after = counts.advance(state[:, : counts.width], ids)  # (B, T, N+2)
    places, last = after.reshape(ids.size, counts.width), after[:, -1]
    found = counts.probabilities(places).reshape(*ids.shape, counts.vocab_size)
    expected = counts.match.expected(places[:, -WIDTH:])
    if counts.labels is None or weights is None:
        return Evidence((_log(found),), expected), last
    of_labels, more = counts.labels.read(state[:, counts.width :], ids, weights, found)
    both = _log(found), _log(of_labels)
    return Evidence(both, expected), np.concatenate([last, more], axis=1)


def _log(probabilities: Probabilities) -> Logits:
    known = np.maximum(probabilities, TINY, out=probabilities)
    return np.log(known, out=known)


def mix(logits: Logits, known: Evidence, mixture: Mixture) -> Logits:
    """Return scores (B, T, V), unnormalised log probabilities, of the network and the counts."""
    mixed: Logits = np.multiply(logits, np.float32(mixture.network), order="C")
    for weight, counted in zip((mixture.counts, mixture.labels), known.counted, strict=False):
        mixed += np.float32(weight) * counted
    rows = mixed.reshape(-1, mixed.shape[-1])
    for row, (token, length) in zip(rows, known.expected, strict=True):
        if token >= 0:
            row[token] += mixture.match[length]
    return mixed


class MixtureEngine:
    """Runs a network and n-gram counts side by side.

    Attributes:
        network: its engine.
        counts: of the training text.

    Args:
        engine: of the network.
        counts: of the training text.
        mixture: their weights.
    """

    def __init__(self, engine: Engine, counts: NGramCounts, mixture: Mixture) -> None:
        self.network, self.counts, self._mixture = engine, counts, mixture
        self._labels = engine.place if isinstance(engine, LabelEngine) else None

    def init_state(self, batch: int) -> State:
        """Return the initial state for a batch of B texts."""
        return self._begun(self.network.init_state(batch), batch)

    def begin(self, labels: NDArray[np.integer]) -> State:
        """Return the initial state for texts with these labels (B,), -1 for none."""
        return self._begun(begin(self.network, labels), len(labels))

    def of(self, weights: Weights) -> MixtureEngine:
        """Return an engine of which all texts have these labels, by their weights (L,)."""
        assert isinstance(self.network, LabelEngine)
        return MixtureEngine(self.network.of(weights), self.counts, self._mixture)

    def _begun(self, own: State, batch: int) -> State:
        counted = start(self.counts, self._weights(own), batch)
        return (*own, counted[None].astype(np.float32))

    def _weights(self, state: State) -> Weights | None:
        return None if self._labels is None else state[self._labels][0]

    def run(self, ids: Numbers, state: State) -> tuple[Logits, State]:
        """Return scores (B, T, V) and the last state for ids (B, T)."""
        own, numbers = state[:-1], state[-1][0].astype(np.int64)
        logits, last = self.network.run(ids, own)
        known, after = follow(self.counts, numbers, ids, self._weights(own))
        mixed = mix(logits, known, self._mixture)
        return mixed, (*last, after[None].astype(np.float32))  # below 2^24: exact
