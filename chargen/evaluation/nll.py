"""Negative log-likelihood of tokens under a model: the one loop over an engine.

Legend of shapes: B rows, T steps, V vocabulary, N tokens of a row.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chargen.data.dataset import Segment
from chargen.engine import Engine, Logits, State
from chargen.engine.labels import begin
from chargen.evaluation.groups import in_one_pass
from chargen.sampling.filters import log_probabilities

STEPS = 1024  # tokens of a row read in one call, at most
READ = 1 << 13  # tokens of several texts read in one call, at most
LOGITS = 1 << 22  # held at once, at most

Floats = NDArray[np.float64]
Tokens = NDArray[np.int64]


class Part(NamedTuple):
    """Some steps of a segment, as an engine has read them.

    Attributes:
        places: of the targets in the segment (B, T); negative where a target is not of it.
        inputs: tokens that were read (B, T).
        targets: the next tokens (B, T).
        logits: of the targets (B, T, V).
        begins: whether these are the first steps of their rows.
        labels: number of the label of each row (B,), -1 for none; None of one text.
    """

    places: Tokens
    inputs: Tokens
    targets: Tokens
    logits: Logits
    begins: bool
    labels: NDArray[np.int32] | None

    @property
    def scored(self) -> NDArray[np.bool_]:
        """Which targets are of the segment (B, T)."""
        return self.places >= 0


def read_segment(engine: Engine, segment: Segment, most: int = STEPS) -> Iterator[Part]:
    """Read a segment: one text in one pass, after its context; or texts, many side by side.

    Each of several texts begins in the initial state, with its label.

    Args:
        engine: the model.
        segment: what it reads.
        most: steps in one call.
    """
    for tokens, places, labels in in_one_pass(segment):
        state = None if labels is None else begin(engine, labels)
        steps_most = most if labels is None else max(1, min(most, READ // len(labels)))
        for steps, logits in read(engine, tokens, steps_most, state):
            inputs, targets = tokens[:, :-1][:, steps], tokens[:, 1:][:, steps]
            yield Part(places[:, steps], inputs, targets, logits, steps.start == 0, labels)


def read(
    engine: Engine, tokens: Tokens, most: int = STEPS, state: State | None = None
) -> Iterator[tuple[slice, Logits]]:
    """Yield the logits (B, T, V) after each of tokens (B, N+1) but the last, some at a time.

    Args:
        engine: the model.
        tokens: what it reads.
        most: steps in one call.
        state: from which it starts; None is its initial state.

    Yields:
        The steps, and their logits: those of the targets ``tokens[:, 1:][:, steps]``.
    """
    batch, count = tokens.shape
    state, steps, start = state or engine.init_state(batch), 1, 0
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
