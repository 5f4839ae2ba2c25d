"""Units of a model that follow a feature of the text.

Karpathy, Johnson and Fei-Fei (2015, section 4.2) found units by eye that follow quotes or the
position in the line. Here each unit is correlated with each feature of ``features``, within groups
of steps with the same last two characters, because any network knows these two. An untrained
network still echoes the last few characters, so a unit counts only if its correlation is clearly
above that of the best unit of an untrained network of the same shape. The correlation must also
hold, with the same sign, on the half of the text on which the unit was not chosen.

Legend of shapes: N steps, U units (all parts of the state of all layers), F features, B batch size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chargen.config import TrainConfig
from chargen.data.dataset import WARM, Segment
from chargen.engine import Engine, make_engine
from chargen.inspection.features import FEATURES, measure
from chargen.inspection.streams import STEPS, STREAMS, side_by_side
from chargen.model.language_model import LanguageModel
from chargen.model.spec import ModelConfig, state_widths

NUMBERS = 50_000_000  # most activations in memory
UNITS = "hc"  # parts of the state with units: not the last inputs, not the place in a period
LEAST = 0.4  # smallest correlation that counts
MARGIN = 1.5  # times the correlation of an untrained network
CHANGES = 20  # fewest changes of a feature in each half
BLOCK = 256  # units correlated at once

Numbers = NDArray[np.float64]
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Reading:
    """Activations of the units of a model along a text.

    Attributes:
        pieces: the text that each step completed: one character, several, or none (N).
        activity: activation of each unit at each step, (N, U).
    """

    pieces: tuple[str, ...]
    activity: NDArray[np.float32]


@dataclass(frozen=True)
class Correlations:
    """Correlations of units and features, (2, U, F): on the first half and the held-out half."""

    values: Numbers

    @property
    def best(self) -> Numbers:
        """The strongest absolute correlation over all units, (2, F)."""
        strongest: Numbers = np.abs(self.values).max(axis=1)
        return strongest


@dataclass(frozen=True)
class Comparison:
    """Correlations of a model and of an untrained network with the features of a text.

    Attributes:
        reading: activations of the model.
        own: correlations of its units.
        twin: correlations of the units of an untrained network of the same shape.
        kept: mask of the features that vary enough in this text, (F,).
    """

    reading: Reading
    own: Correlations
    twin: Correlations
    kept: NDArray[np.bool_]


@dataclass(frozen=True)
class Find:
    """The correlation of one unit with one feature.

    Attributes:
        feature: name of the feature in ``FEATURES``.
        unit: index of the unit.
        first: correlation on the half on which the unit was chosen.
        held_out: correlation on the other half.
        untrained: the strongest correlation of an untrained network on the other half.
    """

    feature: str
    unit: int
    first: float
    held_out: float
    untrained: float


def unit_names(config: ModelConfig) -> list[str]:
    """Return the name of every unit, such as ``c1:123``: part of the state, layer, unit."""
    return [f"{name}:{unit}" for name, width in unit_parts(config) for unit in range(width)]


def unit_parts(config: ModelConfig) -> list[tuple[str, int]]:
    """Return the name and the width of each part of the state that has units, such as ``c1``."""
    return [named for named in _state_parts(config) if named[0][0] in UNITS]


def _state_parts(config: ModelConfig) -> list[tuple[str, int]]:
    return [
        (f"{part}{number}", width)
        for number, widths in enumerate(state_widths(config), 1)
        for part, width in widths.items()
    ]


# -- reading ------------------------------------------------------------------------------


def read_units(engine: Engine, config: ModelConfig, segment: Segment, streams: int = 1) -> Reading:
    """Read the beginning of a text and record the activation of every unit.

    Several streams are several times as fast, but each one sees only 256 tokens before its
    beginning. That is enough for an untrained network and too little for one with a long memory.
    """
    units = len(unit_names(config))
    cut = side_by_side(segment, min(STEPS, max(1, NUMBERS // units)), streams)
    batch, steps = cut.tokens.shape
    activity = np.empty((batch, steps - WARM, units), np.float32)
    state = engine.init_state(batch)
    for step in range(steps):
        _, state = engine.run(cut.tokens[:, step, None], state)
        there = cut.there[:, step, None]  # the state stays zero before the text
        state = tuple(np.where(there, part, np.float32(0)) for part in state)
        if step >= WARM:
            named = zip(_state_parts(config), state, strict=False)  # not labels, not n-grams
            hidden = [part[0] for (name, _), part in named if name[0] in UNITS]
            activity[:, step - WARM] = np.concatenate(hidden, axis=1)
    decoder = segment.tokenizer.decoder()
    pieces = tuple(decoder.push(token) for token in cut.counted.tolist())
    return Reading(pieces, activity.reshape(-1, units))


def untrained(config: ModelConfig, start: dict[str, Any]) -> Engine:
    """Return an untrained network of a model's shape, with the same initialization.

    Args:
        config: the architecture.
        start: settings of the model's training by their names in ``TrainConfig``.
    """
    names = ("recurrent_init", "recurrent_scale", "input_init", "forget_bias")
    recipe = TrainConfig(**{name: start[name] for name in names if name in start}, seed=0)
    return make_engine(LanguageModel(config, recipe).weights(), config, "cpu")


# -- comparing ----------------------------------------------------------------------------


def compare(
    engine: Engine, config: ModelConfig, start: dict[str, Any], segment: Segment
) -> Comparison:
    """Correlate the units of a model, and those of an untrained network, with all features.

    Args:
        engine: engine of the model.
        config: its architecture.
        start: settings of its training by their names in ``TrainConfig``.
        segment: the text to read.
    """
    reading = read_units(engine, config, segment)
    echo = read_units(untrained(config, start), config, segment, STREAMS)
    features = features_of(reading)
    own, twin = correlate(reading, features), correlate(echo, features_of(echo))
    return Comparison(reading, own, twin, varying(features))


def features_of(reading: Reading) -> Numbers:
    """Return the features at each step, (N, F): those of the last complete character."""
    values = measure("".join(reading.pieces))
    return values[np.maximum(_ends(reading) - 1, 0)]


def varying(features: Numbers) -> NDArray[np.bool_]:
    """Return a mask (F,) of the features (N, F) that change often enough in both halves."""
    changes = [np.count_nonzero(np.diff(half, axis=0), axis=0) for half in _halves(features)]
    enough: NDArray[np.bool_] = np.minimum(*changes) >= CHANGES
    return enough


def correlate(reading: Reading, features: Numbers) -> Correlations:
    """Correlate each unit with each feature within steps of the same last two characters."""
    groups = np.array_split(_recent(reading), 2)
    halves = zip(groups, _halves(reading.activity), _halves(features), strict=True)
    return Correlations(np.stack([_within(*half) for half in halves]))


def find_units(compared: Comparison) -> list[Find]:
    """Return the best unit of each feature that has one, the strongest correlation first."""
    least = np.maximum(LEAST, MARGIN * compared.twin.best)  # (2, F)
    finds = []
    for number in np.flatnonzero(compared.kept).tolist():
        unit = int(np.abs(compared.own.values[0, :, number]).argmax())
        find = _find(compared, unit, number)
        again = find.first * find.held_out > 0
        if again and (np.abs([find.first, find.held_out]) >= least[:, number]).all():
            finds.append(find)
    return sorted(finds, key=lambda find: -abs(find.held_out))


def relations(compared: Comparison, unit: int) -> list[Find]:
    """Return the correlations of one unit with each feature that varies enough, weak or not."""
    return [_find(compared, unit, number) for number in np.flatnonzero(compared.kept).tolist()]


def _find(compared: Comparison, unit: int, number: int) -> Find:
    first, held_out = compared.own.values[:, unit, number].tolist()
    echo = float(compared.twin.best[1, number])
    return Find(list(FEATURES)[number], unit, first, held_out, echo)


def _halves(values: NDArray[Any]) -> list[NDArray[Any]]:
    return np.array_split(values, 2)


def _ends(reading: Reading) -> Places:
    """Return the number of complete characters after each step, (N,)."""
    return np.cumsum([len(piece) for piece in reading.pieces])


def _recent(reading: Reading) -> Places:
    """Return the group of each step, (N,): a number for its last two characters."""
    text = "".join(reading.pieces)
    codes = np.array([0, 0, *map(ord, text)], np.int64)
    ends = _ends(reading)
    pairs = codes[ends] * 0x110000 + codes[ends + 1]
    _, groups = np.unique(pairs, return_inverse=True)
    numbers: Places = groups.astype(np.int64)
    return numbers


def _within(groups: Places, activity: NDArray[np.float32], features: Numbers) -> Numbers:
    """Return the correlations (U, F) of units (N, U) and features (N, F) within groups."""
    others = _normed(groups, features)
    blocks = np.split(activity, range(BLOCK, activity.shape[1], BLOCK), axis=1)
    return np.concatenate([_normed(groups, block).T @ others for block in blocks])


def _normed(groups: Places, values: NDArray[Any]) -> Numbers:
    """Return columns (N, K) of norm 1 without the means of the groups; a constant becomes 0."""
    order = np.argsort(groups, kind="stable")
    _, starts, counts = np.unique(groups[order], return_index=True, return_counts=True)
    rows = values[order].astype(np.float64)
    means = np.add.reduceat(rows, starts, axis=0) / counts[:, None]
    rows -= np.repeat(means, counts, axis=0)
    lengths = np.sqrt((rows**2).sum(axis=0))
    normed = np.empty_like(rows)
    normed[order] = rows / np.where(lengths > 1e-6 * len(rows) ** 0.5, lengths, np.inf)
    return normed
