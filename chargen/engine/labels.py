"""Engine of a model with labels: P(text | label), or given a mixture of labels.

The weights of the labels are a part of the recurrent state, (1, B, L): one of them is 1, or several
sum to 1, or all are 0 where the label is not known.

Legend of shapes: B batch size, T steps, V vocabulary, L labels.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from chargen.config import require
from chargen.engine import Engine, Logits, State
from chargen.errors import ConfigError

SHOWN = 10  # names in a message


@runtime_checkable
class Labelled(Protocol):
    """An engine that knows labels."""

    def begin(self, labels: NDArray[np.integer]) -> State:
        """Return the initial state for texts with these labels (B,), -1 for none."""
        ...

    def of(self, weights: NDArray[np.float32]) -> Engine:
        """Return an engine of which all texts have these labels, by their weights (L,)."""
        ...


class LabelEngine:
    """Runs an engine whose texts have labels.

    Args:
        engine: of a model with labels.
        labels: number of them (L).
        place: which part of the state holds their weights.
        weights: of the labels (L,) that a text has from its beginning; None for no label.
    """

    def __init__(
        self,
        engine: Engine,
        labels: int,
        place: int,
        weights: NDArray[np.float32] | None = None,
    ) -> None:
        self._engine, self._labels, self.place = engine, labels, place
        self._weights = np.zeros(labels, np.float32) if weights is None else weights

    def init_state(self, batch: int) -> State:
        """Return the initial state for a batch of B texts."""
        return self._begin(np.repeat(self._weights[None], batch, axis=0))

    def begin(self, labels: NDArray[np.integer]) -> State:
        """Return the initial state for texts with these labels (B,), -1 for none."""
        return self._begin(one_hot(labels, self._labels))

    def run(self, ids: NDArray[np.int64], state: State) -> tuple[Logits, State]:
        """Return the logits (B, T, V) and the last state for ids (B, T)."""
        return self._engine.run(ids, state)

    def of(self, weights: NDArray[np.float32]) -> LabelEngine:
        """Return an engine of which all texts have these labels, by their weights (L,)."""
        return LabelEngine(self._engine, self._labels, self.place, weights)

    def _begin(self, weights: NDArray[np.float32]) -> State:
        state = list(self._engine.init_state(len(weights)))
        state[self.place] = weights[None]
        return tuple(state)


def one_hot(labels: NDArray[np.integer], count: int) -> NDArray[np.float32]:
    """Return the weights (B, L) of labels (B,), all 0 for -1."""
    weights = np.zeros((len(labels), count), np.float32)
    known = np.flatnonzero(labels >= 0)
    weights[known, labels[known]] = 1
    return weights


def begin(engine: Engine, labels: NDArray[np.integer]) -> State:
    """Return the initial state for texts with these labels (B,), which only some engines know."""
    if isinstance(engine, Labelled):
        return engine.begin(labels)
    return engine.init_state(len(labels))


def label_weights(names: tuple[str, ...], given: str | Mapping[str, float]) -> NDArray[np.float32]:
    """Return the weights of labels (L,), which sum to 1.

    Args:
        names: of the labels of the model.
        given: a label, or weights by label, which may be typed as ``a=0.7,b=0.3``.

    Raises:
        ConfigError: the model has no labels or not these, or a weight is not a positive number.
    """
    if not names:
        raise ConfigError(
            f"label is {given!r}, but the model has no labels; train one with --label"
        )
    shares = _typed(names, given) if isinstance(given, str) else dict(given)
    require(bool(shares), "label", given, shown(names))
    weights = np.zeros(len(names), np.float32)
    for label, share in shares.items():
        require(label in names, "label", label, shown(names))
        number = isinstance(share, int | float) and not isinstance(share, bool)
        if not (number and 0 < share < 1e9):
            raise _wrong_weight(label, share)
        weights[names.index(label)] = share
    weights /= weights.sum()
    return weights


def _typed(names: tuple[str, ...], given: str) -> dict[str, float]:
    """Return the weights of labels as typed.

    The name of a label always means that label. Anything else is ``NAME=WEIGHT`` with commas
    between; a name may contain both, since the longest name that fits is taken.
    """
    if given in names or "=" not in given:
        return {given: 1.0}
    longest = sorted(names, key=len, reverse=True)
    one = re.compile(rf"({'|'.join(map(re.escape, longest))})=([^,]*)(?:,|$)", re.DOTALL)
    shares, place = dict[str, float](), 0
    while place < len(given):
        found = one.match(given, place)
        require(found is not None, "label", given[place:].partition("=")[0], shown(names))
        assert found
        shares[found[1]], place = _number(found[1], found[2]), found.end()
    return shares


def _number(label: str, typed: str) -> float:
    try:
        return float(typed)
    except ValueError:
        raise _wrong_weight(label, typed) from None


def _wrong_weight(label: str, weight: object) -> ConfigError:
    return ConfigError(
        f"label {label!r} has the weight {weight!r}; allowed: a number above 0, as in a=0.7,b=0.3"
    )


def shown(names: tuple[str, ...]) -> str:
    """Return the names of labels for a message, the first of them if there are many."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(map(repr, names[:SHOWN])) + more
