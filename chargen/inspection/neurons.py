"""Which units of a model follow something that a reader can see.

Karpathy, Johnson and Fei-Fei (2015, section 4.2) showed units that follow quotes or the place in
the line, found by eye. Here each unit is compared with each feature of ``features``, by its
correlation among steps with the same last two characters: what these two say, any network knows.
An untrained network still echoes what was a little before; so a unit counts only if it follows a
feature clearly better than the best unit of an untrained network of the same shape does. And it
must do so again, in the same direction, on the half of the text that it was not chosen on.

Legend of shapes: N steps, U units (each part of each layer's state), F features, B streams.
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
from chargen.model.spec import ModelConfig

NUMBERS = 50_000_000  # of activity that are held at most
LEAST = 0.4  # correlation, below which a unit is not said to follow anything
MARGIN = 1.5  # times what an untrained network reaches
CHANGES = 20  # of a feature in each half, below which nothing can be said of it
BLOCK = 256  # units that are compared at once

Numbers = NDArray[np.float64]
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Reading:
    """What the units of a model did along a text.

    Attributes:
        pieces: the text that each step completed: a character, several, or none (N).
        activity: of each unit at each step, (N, U).
    """

    pieces: tuple[str, ...]
    activity: NDArray[np.float32]


@dataclass(frozen=True)
class Correlations:
    """How units and features go together, (2, U, F): on the first half and the held-out one."""

    values: Numbers

    @property
    def best(self) -> Numbers:
        """The strongest of any unit, (2, F)."""
        strongest: Numbers = np.abs(self.values).max(axis=1)
        return strongest


@dataclass(frozen=True)
class Comparison:
    """A reading, how its units go with the features, and what there is to hold against it.

    Attributes:
        reading: of the model.
        own: correlations of its units.
        twin: correlations of the units of an untrained network of its shape.
        kept: the features that vary enough in this text, (F,).
    """

    reading: Reading
    own: Correlations
    twin: Correlations
    kept: NDArray[np.bool_]


@dataclass(frozen=True)
class Find:
    """A unit and a feature, and how they go together.

    Attributes:
        feature: its name in ``FEATURES``.
        unit: its place among the units.
        first: correlation on the half that it was chosen on.
        held_out: correlation on the other half.
        untrained: what the best unit of an untrained network reaches there.
    """

    feature: str
    unit: int
    first: float
    held_out: float
    untrained: float


def unit_names(config: ModelConfig) -> list[str]:
    """Return the name of every unit, such as ``c1:123``: part of the state, layer, unit."""
    return [
        f"{part}{number}:{unit}"
        for number, layer in enumerate(config.layers, 1)
        for part in layer.spec.states
        for unit in range(layer.hidden)
    ]


# -- reading ------------------------------------------------------------------------------


def read_units(engine: Engine, segment: Segment, streams: int = 1) -> Reading:
    """Read the beginning of a text, and note what every unit does.

    Several streams are several times as fast, but each remembers only the 256 tokens before it:
    enough for an untrained network, too little for one that counts.
    """
    state = engine.init_state(1)
    units = sum(part.shape[2] for part in state)
    cut = side_by_side(segment, min(STEPS, max(1, NUMBERS // units)), streams)
    batch, steps = cut.tokens.shape
    activity = np.empty((batch, steps - WARM, units), np.float32)
    state = engine.init_state(batch)
    for step in range(steps):
        _, state = engine.run(cut.tokens[:, step, None], state)
        there = cut.there[:, step, None]  # else nothing was read yet
        state = tuple(np.where(there, part, np.float32(0)) for part in state)
        if step >= WARM:
            activity[:, step - WARM] = np.concatenate([part[0] for part in state], axis=1)
    decoder = segment.tokenizer.decoder()
    pieces = tuple(decoder.push(token) for token in cut.counted.tolist())
    return Reading(pieces, activity.reshape(-1, units))


def untrained(config: ModelConfig, start: dict[str, Any]) -> Engine:
    """Return an untrained network of a model's shape, its weights drawn as that model's were.

    Args:
        config: the shape.
        start: settings of its training, by their names in ``TrainConfig``.
    """
    names = ("recurrent_init", "recurrent_scale", "input_init", "forget_bias")
    recipe = TrainConfig(**{name: start[name] for name in names if name in start}, seed=0)
    return make_engine(LanguageModel(config, recipe).weights(), config, "cpu")


# -- comparing ----------------------------------------------------------------------------


def compare(
    engine: Engine, config: ModelConfig, start: dict[str, Any], segment: Segment
) -> Comparison:
    """Compare the units of a model, and those of an untrained network, with all features.

    Args:
        engine: the model's.
        config: its shape.
        start: settings of its training, by their names in ``TrainConfig``.
        segment: what is read.
    """
    reading = read_units(engine, segment)
    echo = read_units(untrained(config, start), segment, STREAMS)
    features = features_of(reading)
    own, twin = correlate(reading, features), correlate(echo, features_of(echo))
    return Comparison(reading, own, twin, varying(features))


def features_of(reading: Reading) -> Numbers:
    """Return the features at each step, (N, F): those of the last character that was complete."""
    values = measure("".join(reading.pieces))
    return values[np.maximum(_ends(reading) - 1, 0)]


def varying(features: Numbers) -> NDArray[np.bool_]:
    """Tell of each feature (N, F) whether it changes often enough in both halves, (F,)."""
    changes = [np.count_nonzero(np.diff(half, axis=0), axis=0) for half in _halves(features)]
    enough: NDArray[np.bool_] = np.minimum(*changes) >= CHANGES
    return enough


def correlate(reading: Reading, features: Numbers) -> Correlations:
    """Correlate each unit with each feature among steps with the same last two characters."""
    groups = np.array_split(_recent(reading), 2)
    halves = zip(groups, _halves(reading.activity), _halves(features), strict=True)
    return Correlations(np.stack([_within(*half) for half in halves]))


def find_units(compared: Comparison) -> list[Find]:
    """Return the best unit of each feature, if it follows it; the clearest find first."""
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
    """Return how one unit goes together with each feature that varies enough, weak or not."""
    return [_find(compared, unit, number) for number in np.flatnonzero(compared.kept).tolist()]


def _find(compared: Comparison, unit: int, number: int) -> Find:
    first, held_out = compared.own.values[:, unit, number].tolist()
    echo = float(compared.twin.best[1, number])
    return Find(list(FEATURES)[number], unit, first, held_out, echo)


def _halves(values: NDArray[Any]) -> list[NDArray[Any]]:
    return np.array_split(values, 2)


def _ends(reading: Reading) -> Places:
    """Return how many characters are complete after each step, (N,)."""
    return np.cumsum([len(piece) for piece in reading.pieces])


def _recent(reading: Reading) -> Places:
    """Return a number for the last two characters at each step, (N,)."""
    text = "".join(reading.pieces)
    codes = np.array([0, 0, *map(ord, text)], np.int64)
    ends = _ends(reading)
    pairs = codes[ends] * 0x110000 + codes[ends + 1]
    _, groups = np.unique(pairs, return_inverse=True)
    numbers: Places = groups.astype(np.int64)
    return numbers


def _within(groups: Places, activity: NDArray[np.float32], features: Numbers) -> Numbers:
    """Correlate units (N, U) with features (N, F), (U, F), all less the mean of their group."""
    others = _normed(groups, features)
    blocks = np.split(activity, range(BLOCK, activity.shape[1], BLOCK), axis=1)
    return np.concatenate([_normed(groups, block).T @ others for block in blocks])


def _normed(groups: Places, values: NDArray[Any]) -> Numbers:
    """Return columns (N, K) less the mean of each group, and of length one; a constant stays 0."""
    order = np.argsort(groups, kind="stable")
    _, starts, counts = np.unique(groups[order], return_index=True, return_counts=True)
    rows = values[order].astype(np.float64)
    means = np.add.reduceat(rows, starts, axis=0) / counts[:, None]
    rows -= np.repeat(means, counts, axis=0)
    lengths = np.sqrt((rows**2).sum(axis=0))
    normed = np.empty_like(rows)
    normed[order] = rows / np.where(lengths > 1e-6 * len(rows) ** 0.5, lengths, np.inf)
    return normed
