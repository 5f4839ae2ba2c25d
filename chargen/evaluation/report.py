"""All figures of a model on a text, beside those of baselines.

What is tuned (a temperature, the adaptation of ``--dynamic``, the weight of a mixture) is tuned
on the first half of the text and reported on the second; where there are several texts, on half of
them and on the others.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from chargen.data.dataset import Dataset, Segment
from chargen.data.texts import UNLABELLED
from chargen.engine import Engine
from chargen.errors import CorpusError
from chargen.evaluation.baselines import (
    best_order,
    best_weight,
    count,
    losses_of,
    mixed,
    packed,
    uniform,
)
from chargen.evaluation.cache import expectations, with_cache
from chargen.evaluation.groups import SEED
from chargen.evaluation.nll import Floats, Tokens
from chargen.evaluation.protocols import (
    WINDOW,
    OnProgress,
    Score,
    TokenLosses,
    score,
    stateful,
    stateless,
    tempered,
)
from chargen.tokenizers import Ids

if TYPE_CHECKING:
    from chargen.evaluation.dynamic import Adapter

LEAST = 1000  # tokens of a text of which one half tunes, and the other is reported
TEMPERATURES = tuple(round(0.7 + 0.02 * n, 2) for n in range(31))
PROBE = 200  # tokens by which a text is looked for in another
LOOKED_FOR = 100  # texts, at most
BLOCK = 1 << 22  # tokens that it is looked for in at once

Meter = Callable[[str, int], AbstractContextManager[OnProgress]]
Half = slice | Tokens


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
        baselines: n-grams, compressors and chance on the whole text.
        half: the second half: as it is, and by what was tuned on the first.
    """

    whole: list[Row]
    baselines: list[Row]
    half: list[Row]


@dataclass(frozen=True)
class Wanted:
    """What is to be measured.

    Attributes:
        window: tokens of stateless windows, if these alone.
        temperature: also find the best temperature.
        ngram: also mix with n-grams.
        dynamic: opens the model for dynamic evaluation, if that too.
    """

    window: int | None = None
    temperature: bool = False
    ngram: bool = False
    dynamic: Callable[[], Adapter] | None = None


def report(
    engine: Engine, segment: Segment, learned: Dataset | None, wanted: Wanted, meter: Meter
) -> Report:
    """Measure a text.

    Args:
        engine: the model.
        segment: what is measured.
        learned: the corpus that the model was trained on, if that is at hand.
        wanted: what to measure; of several texts, neither windows nor dynamic evaluation.
        meter: makes a bar, of a name and a number of parts.

    Raises:
        CorpusError: the text is too short to tune on one half and report on the other.
    """
    tuned = wanted.temperature or wanted.ngram or wanted.dynamic
    if tuned:
        halves(segment)
    with meter("n-grams and compressors", 2) as progress:
        counts = by_ngrams(segment, learned)
        progress(1)
        others = baselines(segment, learned.train if learned else None, counts)
    if wanted.window:
        return Report([in_windows(engine, segment, wanted.window, meter)], others, [])
    row, losses = in_one_pass(engine, segment, meter)
    whole = [row, *other_protocols(engine, segment, meter)]
    if not tuned:
        return Report(whole, others, [])
    return Report(whole, others, second_half(engine, segment, losses, counts, wanted, meter))


# -- the model ----------------------------------------------------------------------------


def in_windows(engine: Engine, segment: Segment, width: int, meter: Meter) -> Row:
    """Measure a text in stateless windows."""
    with meter("stateless windows", len(segment)) as progress:
        losses = stateless(engine, segment, width, progress)
    return Row("stateless", f"stateless, window {width}", score(losses, segment), {"window": width})


def in_one_pass(engine: Engine, segment: Segment, meter: Meter) -> tuple[Row, TokenLosses]:
    """Measure a text in one stateful pass, or each of several texts in one of its own."""
    with meter("stateful pass", len(segment)) as progress:
        losses = stateful(engine, segment, progress)
    key, name = _protocol(segment)
    return Row(key, name, score(losses, segment)), losses


def _protocol(segment: Segment) -> tuple[str, str]:
    """Return the key and the name of the pass over a text, or over each of several."""
    if segment.texts is None:
        return "stateful", "stateful"
    return "per_text", "per text, with label" if has_labels(segment) else "per text"


def has_labels(segment: Segment) -> bool:
    """Tell whether any text of a segment has a label."""
    return segment.texts is not None and bool((segment.texts.labels != UNLABELLED).any())


def other_protocols(engine: Engine, segment: Segment, meter: Meter) -> list[Row]:
    """Measure one text in stateless windows, and texts with labels without them."""
    if segment.texts is None:
        return [in_windows(engine, segment, WINDOW, meter)]
    if not has_labels(segment):
        return []
    none = np.full_like(segment.texts.labels, UNLABELLED)
    without = replace(segment, texts=replace(segment.texts, labels=none))
    with meter("without labels", len(segment)) as progress:
        losses = stateful(engine, without, progress)
    return [Row("without_labels", "without label", score(losses, segment))]


def contains(learned: Ids, ids: Ids) -> bool:
    """Tell whether a text, by its middle, stands in another."""
    middle = max(0, (len(ids) - PROBE) // 2)
    return len(ids) >= PROBE and _found(learned, [ids[middle : middle + PROBE]]) == 1


def known_texts(learned: Ids, segment: Segment) -> tuple[int, int]:
    """Return how many of some texts stand in the training part, and how many were looked for."""
    assert segment.texts is not None
    texts = segment.texts
    drawn = np.random.default_rng(SEED).permutation(len(texts))[:LOOKED_FOR]
    pairs = zip(texts.borders[drawn], texts.lengths[drawn], strict=True)
    probes = [segment.ids[start : start + min(length, PROBE)] for start, length in pairs]
    return _found(learned, [np.append(texts.before, probe) for probe in probes]), len(probes)


def _found(learned: Ids, probes: list[Ids]) -> int:
    """Return how many pieces of a text, of ``PROBE`` tokens or so at most, stand in another."""
    wanted = {n: probe.astype(learned.dtype).tobytes() for n, probe in enumerate(probes)}
    for start in range(0, len(learned), BLOCK):
        block = learned[start : start + BLOCK + PROBE].tobytes()
        wanted = {n: probe for n, probe in wanted.items() if probe not in block}
    return len(probes) - len(wanted)


# -- baselines ----------------------------------------------------------------------------


def by_ngrams(segment: Segment, learned: Dataset | None) -> list[Floats]:
    """Return what ``losses_of`` makes of n-grams of the training text, if that is at hand."""
    if learned is None:
        return []
    return losses_of(count(learned.train, segment.tokenizer, texts=learned.texts), segment)


def baselines(segment: Segment, learned: Ids | None, counts: list[Floats]) -> list[Row]:
    """Return the rows of n-grams, compressors and chance, on the same text.

    Args:
        segment: what is measured.
        learned: the training text, if it is at hand.
        counts: what ``by_ngrams`` made of it.
    """
    chance = Row("uniform", "uniform", score(TokenLosses(uniform(segment)), segment))
    if learned is None:
        return [chance]
    order = best_order(counts)
    knows = score(TokenLosses(counts[order - 1]), segment)
    single = score(TokenLosses(counts[0]), segment)
    sizes = packed(learned, segment)
    return [
        Row("kneser_ney", f"Kneser-Ney, order {order}", knows, {"order": order}),
        *(Row(name, f"{name} -9", _of(nats, knows)) for name, nats in sizes.items()),
        Row("unigram", "unigram", single),
        chance,
    ]


def _of(nats: float, other: Score) -> Score:
    """Return a score of the same text of which only the sum is known."""
    return replace(other, nats=nats, accuracy=None, margin=None)


# -- tuning -------------------------------------------------------------------------------


def halves(segment: Segment) -> tuple[Half, Half]:
    """Return the tokens to tune on, and those to report on; they have no text in common.

    Raises:
        CorpusError: the text is too short for both.
    """
    count = len(segment)
    if count < LEAST:
        raise CorpusError(
            f"the text has {count:,} tokens; to tune on one half and report on the other, "
            f"{LEAST:,} are needed"
        )
    if segment.texts is None or len(segment.texts) == 1:
        return slice(0, count // 2), slice(count // 2, count)
    drawn = np.random.default_rng(SEED).permutation(len(segment.texts)) % 2  # (R,)
    half = np.repeat(drawn, segment.texts.lengths)  # (N,)
    return np.flatnonzero(half == 0), np.flatnonzero(half)


def second_half(
    engine: Engine,
    segment: Segment,
    losses: TokenLosses,
    counts: list[Floats],
    wanted: Wanted,
    meter: Meter,
) -> list[Row]:
    """Return the model as it is, and each thing that was wanted, on the second half."""
    rows = [Row(*_protocol(segment), score(losses, segment, halves(segment)[1]))]
    if wanted.temperature:
        rows.append(at_best_temperature(engine, segment, losses, meter))
    if wanted.ngram:
        rows.append(ngram_row(segment, counts))
        rows.append(mixture("mixture", "mixed with n-grams", segment, losses, counts))
    if wanted.dynamic:
        rows.append(remembered("cache", "with a cache", segment, losses)[0])
        row, losses = adapted(segment, wanted.dynamic(), meter)
        rows.append(row)
    if wanted.dynamic and wanted.ngram:
        rows.append(mixture("dynamic_mixture", "dynamic and mixed", segment, losses, counts))
    return rows


def at_best_temperature(engine: Engine, segment: Segment, plain: TokenLosses, meter: Meter) -> Row:
    """Divide the logits by the temperature that does best on the first half."""
    first, second = halves(segment)
    with meter("temperatures", len(segment)) as progress:
        losses = tempered(engine, segment, TEMPERATURES, progress)
    best = int(losses[:, first].sum(axis=1).argmin())
    chosen = {"temperature": TEMPERATURES[best]}
    # The most likely token stays the same at any temperature.
    figures = score(TokenLosses(losses[best], plain.correct), segment, second)
    return Row("temperature", "best temperature", figures, chosen)


def ngram_row(segment: Segment, counts: list[Floats]) -> Row:
    """Score the second half under the n-gram order that does best on the first."""
    first, second = halves(segment)
    order = best_order(counts, first)
    losses = TokenLosses(counts[order - 1])
    name = f"Kneser-Ney, order {order}"
    return Row("kneser_ney", name, score(losses, segment, second), {"order": order})


def mixture(
    key: str, name: str, segment: Segment, losses: TokenLosses, counts: list[Floats]
) -> Row:
    """Mix a model's probabilities with those of n-grams; order and weight from the first half."""
    first, second = halves(segment)
    tried = []
    for order, counted in enumerate(counts, 1):
        weight = best_weight(losses.nll[first], counted[first])
        nats = mixed(losses.nll, counted, weight)
        tried.append((float(nats[first].sum()), order, weight, nats))
    _, order, weight, best = min(tried, key=lambda row: row[0])
    chosen: dict[str, float] = {"weight": weight, "order": order}
    return Row(key, name, score(TokenLosses(best), segment, second), chosen)


def adapted(segment: Segment, adapter: Adapter, meter: Meter) -> tuple[Row, TokenLosses]:
    """Let the model learn what it reads, with a cache; how, is chosen on the first half."""
    from chargen.evaluation.dynamic import tune, tuning_tokens  # torch

    ids, count = segment.with_context, len(segment)
    half = ids[: len(ids) - count + count // 2]
    with meter("tuning dynamic evaluation", tuning_tokens(half)) as progress:
        setting = tune(adapter, half, progress)
    with meter("dynamic evaluation", count) as progress:
        losses = TokenLosses(adapter.read(ids, setting, progress)[-count:])
    row, losses = remembered("dynamic", "dynamic evaluation", segment, losses)
    return replace(row, chosen=dict(vars(setting))), losses


def remembered(
    key: str, name: str, segment: Segment, losses: TokenLosses
) -> tuple[Row, TokenLosses]:
    """Add a cache of the text that was read; which token is the most likely one is not known."""
    nll = with_cache(losses.nll, expectations(segment.ids), segment.ids)
    figures = score(TokenLosses(nll), segment, halves(segment)[1])
    return Row(key, name, figures), TokenLosses(nll)
