"""Negative log-likelihood of tokens under a model: the one loop over an engine.

Legend of shapes: B streams, T steps, V vocabulary, N tokens of a stream.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from chargen.engine import Engine, Logits
from chargen.sampling.filters import log_probabilities

STEPS = 1024  # tokens of a stream read in one call, at most
LOGITS = 1 << 22  # held at once, at most

Floats = NDArray[np.float64]
Tokens = NDArray[np.int64]


def read(engine: Engine, tokens: Tokens, most: int = STEPS) -> Iterator[tuple[slice, Logits]]:
    """Yield the logits (B, T, V) after each of tokens (B, N+1) but the last, some at a time.

    Args:
        engine: the model, which starts from its initial state.
        tokens: what it reads.
        most: steps in one call.

    Yields:
        The steps, and their logits: those of the targets ``tokens[:, 1:][:, steps]``.
    """
    batch, count = tokens.shape
    state, steps, start = engine.init_state(batch), 1, 0
    while start < count - 1:
        logits, state = engine.run(tokens[:, start : min(start + steps, count - 1)], state)
        yield slice(start, start + logits.shape[1]), logits
        start += logits.shape[1]
        steps = max(1, min(most, LOGITS // (batch * logits.shape[2])))


def token_nll(logits: Logits, targets: Tokens) -> tuple[Floats, NDArray[np.bool_]]:
    """Return -ln P of the targets (..., T), and whether each is the most likely token."""
    scores = log_probabilities(logits)  # (..., T, V)
    wanted = np.take_along_axis(scores, targets[..., None], axis=-1)[..., 0]
    return -wanted, scores.argmax(axis=-1) == targets
