"""A run and the base model it began from, blended: in their weights, and in their probabilities.

::

    python -m benchmarks.blending RUN [RUN ...]

Nats per character of the network alone on the validation part of each run's own text. Weights are
(1 - a) base + a tuned (as in Wortsman et al. 2022); probabilities a base + (1 - a) tuned.
"""

from __future__ import annotations

import sys

import numpy as np

from chargen.data.dataset import Segment
from chargen.engine import make_engine
from chargen.evaluation.heldout import held_out, own_dataset
from chargen.evaluation.nll import Floats
from chargen.evaluation.protocols import stateful
from chargen.model.saved import SavedModel, open_model
from chargen.storage.checkpoint import Tensors
from chargen.training.fine_tuning import transferred

TUNED = (0.5, 0.8, 0.9, 1.0, 1.1)  # shares in the weights
BASE = (0.05, 0.1, 0.2)  # in the probabilities


def main() -> None:
    """Print a row per run."""
    columns = [*(f"weights {a:g}" for a in TUNED), *(f"probabilities {a:g}" for a in BASE)]
    print(f"| run | {' | '.join(columns)} |")
    print("|---" * (1 + len(columns)) + "|")
    for name in sys.argv[1:]:
        nats = " | ".join(f"{nats:.4f}" for nats in blended(open_model(name)))
        print(f"| {name} | {nats} |", flush=True)


def blended(run: SavedModel) -> list[float]:
    """Return the losses of all blends."""
    base = open_model(run.section("corpus")["base"]["name"])
    segment, own = held_out(own_dataset(run)), run.weights()
    start = transferred(base.weights(), base.tokenizer, run.tokenizer)
    losses = [_losses(run, _between(start, own, share), segment) for share in TUNED]
    known, tuned = _losses(run, start, segment), losses[TUNED.index(1.0)]
    mixed = [-np.log(a * np.exp(-known) + (1 - a) * np.exp(-tuned)) for a in BASE]
    return [float(nll.mean()) for nll in (*losses, *mixed)]


def _between(start: Tensors, own: Tensors, share: float) -> Tensors:
    return {k: ((1 - share) * start[k] + share * own[k]).astype(np.float32) for k in own}


def _losses(run: SavedModel, weights: Tensors, segment: Segment) -> Floats:
    return stateful(make_engine(weights, run.config, "cpu"), segment).nll


if __name__ == "__main__":
    main()
