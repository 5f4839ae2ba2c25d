"""What each part of a model gives on its validation text: network, counts, longest match, cache.

::

    python -m benchmarks.parts RUN [RUN ...]

Nats per token, stateful, over the whole validation text. The weights of each mixture are fitted
on its beginning, as at the end of a run; the cache tunes nothing. Train with ``--ngram-order 1``
and without it to see what the embeddings of n-grams give.
"""

from __future__ import annotations

import sys

import numpy as np

from chargen.engine import make_engine
from chargen.evaluation.baselines import ngram_baseline
from chargen.evaluation.cache import expectations, with_cache
from chargen.evaluation.heldout import own_dataset
from chargen.evaluation.mixing import both_losses, fit_mixture
from chargen.model.counts import NGramCounts
from chargen.model.match import LongestMatch
from chargen.model.saved import open_model


def without_match(counts: NGramCounts) -> NGramCounts:
    """Return counts whose longest match never expects anything."""
    never = np.full_like(counts.match.last, len(counts.match.text))
    return NGramCounts(counts.table, LongestMatch(counts.match.text, never))


def main() -> None:
    """Print a row per run."""
    print("| run | Kneser-Ney | network | + counts | + longest match | + cache |")
    print("|---|---|---|---|---|---|")
    for name in sys.argv[1:]:
        saved = open_model(name)
        dataset = own_dataset(saved)
        segment, baseline = dataset.validation, ngram_baseline(dataset)
        engine = make_engine(saved.weights(), saved.config, "cpu")
        nats = [baseline.score.nats_per_token if baseline.score else float("nan")]
        for counts in (without_match(baseline.counts), baseline.counts):
            mixture = fit_mixture(engine, counts, segment)
            own, whole = both_losses(engine, counts, mixture, segment)
            nats.append(float(whole.mean()))
        nats.insert(1, float(own.mean()))
        nats.append(float(with_cache(whole, expectations(segment.ids), segment.ids).mean()))
        print(f"| {name} | " + " | ".join(f"{value:.4f}" for value in nats) + " |", flush=True)


if __name__ == "__main__":
    main()
