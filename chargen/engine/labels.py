"""Engine of a model with labels: the vector of a label, or a mean of several, in the state.

P(text | label): the vector is a part of the recurrent state, added to the input of each step; zeros
mean no label. A mean of vectors, weighted, stands between the labels.

Legend of shapes: B batch size, T steps, V vocabulary, L labels, E embedding.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from chargen.config import require
from chargen.engine import Engine, Logits, State
from chargen.errors import ConfigError


@runtime_checkable
class Begins(Protocol):
    """An engine that knows labels."""

    def begin(self, labels: NDArray[np.integer]) -> State:
        """Return the initial state for texts with these labels (B,), -1 for none."""
        ...


class LabelEngine:
    """Runs an engine whose texts have labels.

    Args:
        engine: of a model with labels.
        vectors: of the labels (L, E).
        place: which part of the state holds the vector.
        weights: of the labels (L,) that a text has from its beginning; None for no label.
    """

    def __init__(
        self,
        engine: Engine,
        vectors: NDArray[np.float32],
        place: int,
        weights: NDArray[np.float32] | None = None,
    ) -> None:
        self._engine, self._vectors, self._place = engine, vectors, place
        self._weights = np.zeros(len(vectors), np.float32) if weights is None else weights

    def init_state(self, batch: int) -> State:
        """Return the initial state for a batch of B texts."""
        return self._begin(np.repeat(self._weights[None], batch, axis=0))

    def begin(self, labels: NDArray[np.integer]) -> State:
        """Return the initial state for texts with these labels (B,), -1 for none."""
        weights = np.zeros((len(labels), len(self._vectors)), np.float32)
        known = np.flatnonzero(labels >= 0)
        weights[known, labels[known]] = 1
        return self._begin(weights)

    def run(self, ids: NDArray[np.int64], state: State) -> tuple[Logits, State]:
        """Return the logits (B, T, V) and the last state for ids (B, T)."""
        return self._engine.run(ids, state)

    def of(self, weights: NDArray[np.float32]) -> LabelEngine:
        """Return an engine of which all texts have these labels, by their weights (L,)."""
        return LabelEngine(self._engine, self._vectors, self._place, weights)

    def _begin(self, weights: NDArray[np.float32]) -> State:
        state = list(self._engine.init_state(len(weights)))
        state[self._place] = (weights @ self._vectors)[None]
        return tuple(state)


def begin(engine: Engine, labels: NDArray[np.integer]) -> State:
    """Return the initial state for texts with these labels (B,), which only some engines know."""
    if isinstance(engine, Begins):
        return engine.begin(labels)
    return engine.init_state(len(labels))


def label_weights(names: tuple[str, ...], given: str | Mapping[str, float]) -> NDArray[np.float32]:
    """Return the weights of labels (L,), which sum to 1.

    Args:
        names: of the labels of the model.
        given: a label, or weights by label.

    Raises:
        ConfigError: the model has no labels or not these, or a weight is not a positive number.
    """
    if not names:
        raise ConfigError(
            f"label is {given!r}, but the model has no labels; train one with --label"
        )
    shares = {given: 1.0} if isinstance(given, str) else dict(given)
    weights = np.zeros(len(names), np.float32)
    for label, share in shares.items():
        require(label in names, "label", label, ", ".join(names))
        positive = isinstance(share, int | float) and 0 < share < np.inf
        require(positive, f"weight of label {label!r}", share, "a number above 0")
        weights[names.index(label)] = share
    require(bool(shares), "label", given, ", ".join(names))
    weights /= weights.sum()
    return weights
