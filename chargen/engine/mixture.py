"""Engine of a network mixed with n-gram counts, which know what the network has not learned yet.

::

    P = (1 - w) softmax(logits / T) + w P_counts

The counts hold what was seen a few times, the network what they do not cover; the mixture is better
than either (Mikolov et al. 2011, table 2). Its state is the network's, and the counts' contexts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from chargen.engine import Engine, Logits, State
from chargen.model.counts import NGramCounts
from chargen.model.saved import Mixture

TINY = np.finfo(np.float32).tiny


class MixtureEngine:
    """Runs a network and n-gram counts side by side.

    Args:
        engine: of the network.
        counts: of the training text.
        mixture: weight of the counts, and temperature of the network.
    """

    def __init__(self, engine: Engine, counts: NGramCounts, mixture: Mixture) -> None:
        self._engine, self._counts = engine, counts
        self._weight = np.float32(mixture.weight)
        self._temperature = np.float32(mixture.temperature)

    def init_state(self, batch: int) -> State:
        """Return the initial state for a batch of B texts."""
        return (*self._engine.init_state(batch), self._counts.start(batch)[None].astype(np.float32))

    def run(self, ids: NDArray[np.int64], state: State) -> tuple[Logits, State]:
        """Return log probabilities (B, T, V) and the last state for ids (B, T)."""
        *own, numbers = state
        logits, last = self._engine.run(ids, tuple(own))
        after = self._counts.advance(numbers[0].astype(np.int64), ids)  # (B, T, N-1)
        counted = self._counts.probabilities(after.reshape(ids.size, after.shape[2]))
        mixed = self._mixed(logits, counted.reshape(logits.shape))
        return mixed, (*last, after[None, :, -1].astype(np.float32))  # below 2^24: exact

    def _mixed(self, logits: Logits, counted: Logits) -> Logits:
        scores = logits / self._temperature
        scores -= scores.max(axis=-1, keepdims=True)
        np.exp(scores, out=scores)
        scores *= (1 - self._weight) / scores.sum(axis=-1, keepdims=True)
        scores += self._weight * counted
        np.maximum(scores, TINY, out=scores)  # a token that neither expects has a logarithm too
        mixed: Logits = np.log(scores, out=scores)
        return mixed
