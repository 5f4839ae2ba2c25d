"""Weight and temperature with which n-gram counts are mixed into a network.

Both are fitted on the beginning of the validation part, where neither the network nor the counts
have seen the text (``engine.mixture`` has the equation).
"""

from __future__ import annotations

import numpy as np

from chargen.data.dataset import Segment
from chargen.engine import Engine
from chargen.evaluation.baselines import best_weight, mixed
from chargen.evaluation.nll import Floats
from chargen.evaluation.protocols import tempered
from chargen.model.counts import NGramCounts
from chargen.model.saved import Mixture

FITTED = 1 << 14  # tokens on which both are fitted, at most; and at most half of the text
TEMPERATURES = (0.85, 0.9, 0.95, 1.0, 1.05, 1.1, 1.15, 1.2)
MOST = 95  # hundredths: the network is always heard
CHUNK = 1 << 21  # probabilities held at once


def counted_losses(counts: NGramCounts, segment: Segment) -> Floats:
    """Return -ln P of each token of a text under the counts, (N,)."""
    ids = segment.with_context[-len(segment) - counts.order :].astype(np.int64)
    numbers, parts = counts.start(1), []
    chunk = max(1, CHUNK // counts.vocab_size)
    for start in range(0, len(ids) - 1, chunk):
        inputs, targets = ids[start : start + chunk], ids[start + 1 : start + chunk + 1]
        after = counts.advance(numbers, inputs[None])[0]  # (T, N-1)
        rows = counts.probabilities(after[: len(targets)])  # (T, V)
        with np.errstate(divide="ignore"):
            parts.append(-np.log(rows[np.arange(len(targets)), targets]))
        numbers = after[-1:]
    return np.concatenate(parts).astype(np.float64)[-len(segment) :]


def fit_mixture(engine: Engine, counted: Floats, segment: Segment) -> Mixture:
    """Return the weight and the temperature with the lowest loss at the beginning of a text.

    Args:
        engine: the network.
        counted: losses of the counts on the text.
        segment: the text.
    """
    part = segment.first(max(1, min(FITTED, len(segment) // 2)))
    counted, fits = counted[: len(part)], []
    for temperature, own in zip(TEMPERATURES, tempered(engine, part, TEMPERATURES), strict=True):
        weight = min(best_weight(counted, own), MOST / 100)
        loss = float(mixed(counted, own, weight).mean()) if weight else float(own.mean())
        fits.append((loss, Mixture(weight, temperature)))
    return min(fits, key=lambda fit: fit[0])[1]
