"""All figures of a model on a text, beside those of simpler ways to know it.

What is tuned (a temperature, the adaptation of ``--dynamic``, the weight of a mixture) is tuned
on the first half of the text and reported on the second.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from chargen.data.corpus import Corpus
from chargen.engine import Engine
from chargen.errors import CorpusError
from chargen.evaluation.baselines import best_order, best_weight, counted, mixed, packed, uniform
from chargen.evaluation.protocols import (
    WINDOW,
    Costs,
    Floats,
    Progress,
    Score,
    carried,
    score,
    tempered,
    windows,
)
from chargen.tokenizers import Ids

if TYPE_CHECKING:
    from chargen.evaluation.dynamic import Adapter

LEAST = 1000  # tokens of a text on whose halves something is tuned and reported
TEMPERATURES = tuple(round(0.7 + 0.02 * n, 2) for n in range(31))
PROBE = 200  # tokens by which a text is looked for in another
BLOCK = 1 << 22  # tokens that it is looked for in at once

Meter = Callable[[str, int], AbstractContextManager[Progress]]


@dataclass(frozen=True)
class Row:
    """A line of the report.

    Attributes:
        key: its name for programs.
        name: its name for people.
        score: its figures.
        chosen: what was tuned for it.
    """

    key: str
    name: str
    score: Score
    chosen: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the figures by name."""
        own, margin = self.score, self.score.margin
        bits = own.bits_per_char
        interval = None if margin is None else [bits - margin, bits + margin]
        return {
            "nats_per_token": own.nats_per_token,
            "nats_per_char": own.nats / own.characters,
            "bits_per_char": bits,
            "bits_per_char_interval": interval,
            "bits_per_byte": own.bits_per_byte,
            "perplexity": own.perplexity,
            "accuracy": own.accuracy,
            **self.chosen,
        }


@dataclass(frozen=True)
class Report:
    """The rows of a text.

    Attributes:
        whole: the model on the whole text; the first row is the one that speaks for it.
        simpler: simpler ways on the whole text.
        half: the second half: as it is, and by what was tuned on the first.
    """

    whole: list[Row]
    simpler: list[Row]
    half: list[Row]


@dataclass(frozen=True)
class Wanted:
    """What is to be measured.

    Attributes:
        window: tokens of fresh windows, if these alone.
        temperature: also find the best temperature.
        ngram: also mix with counting.
        dynamic: opens the model for dynamic evaluation, if that too.
    """

    window: int | None = None
    temperature: bool = False
    ngram: bool = False
    dynamic: Callable[[], Adapter] | None = None


def report(
    engine: Engine, corpus: Corpus, learned: Ids | None, wanted: Wanted, meter: Meter
) -> Report:
    """Measure a text.

    Args:
        engine: the model.
        corpus: its validation part is what is measured.
        learned: what the model was trained on, if that is at hand.
        wanted: what to measure.
        meter: makes a bar, of a name and a number of parts.

    Raises:
        CorpusError: the text is too short to tune on one half and report on the other.
    """
    tuned = wanted.temperature or wanted.ngram or wanted.dynamic
    if tuned:
        halves(corpus)
    with meter("counting and packing", 2) as progress:
        counts = [] if learned is None else counted(learned, corpus)
        progress(1)
        others = simpler(corpus, learned, counts)
    if wanted.window:
        return Report([in_windows(engine, corpus, wanted.window, meter)], others, [])
    row, costs = in_one_pass(engine, corpus, meter)
    whole = [row, in_windows(engine, corpus, WINDOW, meter)]
    if not tuned:
        return Report(whole, others, [])
    return Report(whole, others, second_half(engine, corpus, costs, counts, wanted, meter))


# -- the model ----------------------------------------------------------------------------


def in_windows(engine: Engine, corpus: Corpus, width: int, meter: Meter) -> Row:
    """Measure a text in fresh windows."""
    with meter("fresh windows", len(corpus.validation)) as progress:
        costs = windows(engine, corpus, width, progress)
    return Row("windows", f"fresh windows of {width}", score(costs, corpus), {"window": width})


def in_one_pass(engine: Engine, corpus: Corpus, meter: Meter) -> tuple[Row, Costs]:
    """Measure a text with the carried state."""
    with meter("carried state", len(corpus.validation)) as progress:
        costs = carried(engine, corpus, progress)
    return Row("carried", "carried state", score(costs, corpus)), costs


def contains(learned: Ids, ids: Ids) -> bool:
    """Tell whether a text, by its middle, stands in another."""
    middle = max(0, (len(ids) - PROBE) // 2)
    probe = ids[middle : middle + PROBE].astype(learned.dtype).tobytes()
    blocks = (learned[n : n + BLOCK + PROBE] for n in range(0, len(learned), BLOCK))
    return len(ids) >= PROBE and any(probe in block.tobytes() for block in blocks)


# -- simpler ways -------------------------------------------------------------------------


def simpler(corpus: Corpus, learned: Ids | None, counts: list[Floats]) -> list[Row]:
    """Return the rows of counting, compressors and chance, on the same text.

    Args:
        corpus: what is measured.
        learned: the training text, if it is at hand.
        counts: what ``counted`` made of it.
    """
    chance = Row("uniform", "uniform", score(Costs(uniform(corpus)), corpus))
    if learned is None:
        return [chance]
    order = best_order(counts)
    knows = score(Costs(counts[order - 1]), corpus)
    single = score(Costs(counts[0]), corpus)
    sizes = packed(learned, corpus)
    return [
        Row("kneser_ney", f"Kneser-Ney, order {order}", knows, {"order": order}),
        *(Row(name, f"{name} -9", _of(nats, knows)) for name, nats in sizes.items()),
        Row("unigram", "unigram", single),
        chance,
    ]


def _of(nats: float, other: Score) -> Score:
    """Return a score of the same text of which only the sum is known."""
    return replace(other, nats=nats, accuracy=None, margin=None)


# -- what is tuned ------------------------------------------------------------------------


def halves(corpus: Corpus) -> tuple[slice, slice]:
    """Return the tokens to tune on, and those to report on.

    Raises:
        CorpusError: the text is too short for both.
    """
    count = len(corpus.validation)
    if count < LEAST:
        raise CorpusError(
            f"the text has {count:,} tokens; to tune on one half and report on the other, "
            f"{LEAST:,} are needed"
        )
    return slice(0, count // 2), slice(count // 2, count)


def second_half(
    engine: Engine,
    corpus: Corpus,
    costs: Costs,
    counts: list[Floats],
    wanted: Wanted,
    meter: Meter,
) -> list[Row]:
    """Return the model as it is, and each thing that was wanted, on the second half."""
    rows = [Row("carried", "carried state", score(costs, corpus, halves(corpus)[1]))]
    if wanted.temperature:
        rows.append(at_best_temperature(engine, corpus, costs, meter))
    if wanted.ngram:
        rows.append(by_counting(corpus, counts))
        rows.append(mixture("mixture", "mixed with counting", corpus, costs, counts))
    if wanted.dynamic:
        row, costs = adapted(corpus, wanted.dynamic(), meter)
        rows.append(row)
    if wanted.dynamic and wanted.ngram:
        rows.append(mixture("dynamic_mixture", "dynamic and mixed", corpus, costs, counts))
    return rows


def at_best_temperature(engine: Engine, corpus: Corpus, plain: Costs, meter: Meter) -> Row:
    """Divide the logits by the temperature that does best on the first half."""
    first, second = halves(corpus)
    with meter("temperatures", len(corpus.validation)) as progress:
        costs = tempered(engine, corpus, TEMPERATURES, progress)
    best = int(costs[:, first].sum(axis=1).argmin())
    chosen = {"temperature": TEMPERATURES[best]}
    figures = score(Costs(costs[best], plain.hits), corpus, second)  # the likeliest stays so
    return Row("temperature", "best temperature", figures, chosen)


def by_counting(corpus: Corpus, counts: list[Floats]) -> Row:
    """Score the second half by the order that does best on the first."""
    first, second = halves(corpus)
    order = best_order(counts, first)
    costs = Costs(counts[order - 1])
    name = f"Kneser-Ney, order {order}"
    return Row("kneser_ney", name, score(costs, corpus, second), {"order": order})


def mixture(key: str, name: str, corpus: Corpus, costs: Costs, counts: list[Floats]) -> Row:
    """Mix a model's probabilities with those of counting; order and weight from the first half."""
    first, second = halves(corpus)
    tried = []
    for order, count in enumerate(counts, 1):
        weight = best_weight(costs.nats[first], count[first])
        nats = mixed(costs.nats, count, weight)
        tried.append((float(nats[first].sum()), order, weight, nats))
    _, order, weight, best = min(tried, key=lambda row: row[0])
    chosen: dict[str, float] = {"weight": weight, "order": order}
    return Row(key, name, score(Costs(best), corpus, second), chosen)


def adapted(corpus: Corpus, adapter: Adapter, meter: Meter) -> tuple[Row, Costs]:
    """Let the model go on learning while it reads; how, is chosen on the first half."""
    from chargen.evaluation.dynamic import tune, tuning_tokens  # torch

    first, second = halves(corpus)
    before, count = corpus.context, len(corpus.validation)
    ids = np.concatenate([before, corpus.validation])
    half = ids[: len(before) + first.stop]
    with meter("tuning dynamic evaluation", tuning_tokens(half)) as progress:
        setting = tune(adapter, half, progress)
    with meter("dynamic evaluation", count) as progress:
        whole = adapter.read(ids, setting, progress)
    costs = Costs(whole.nats[-count:], None if whole.hits is None else whole.hits[-count:])
    figures, chosen = score(costs, corpus, second), dict(vars(setting))
    row = Row("dynamic", "dynamic evaluation", figures, chosen)
    return row, costs
