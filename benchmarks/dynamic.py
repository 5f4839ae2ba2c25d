"""What dynamic evaluation gains, by the length of its segments, ε, rate and decay.

Reads the beginning of what was held out of a model's own text, one thread:

    python -m benchmarks.dynamic -m lstm
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from chargen.evaluation import dynamic as adaptation
from chargen.evaluation.dynamic import Adapter, Setting
from chargen.evaluation.heldout import held_out
from chargen.model.saved import open_model

CASES = (  # segment, ε, rate, decay
    (50, 0.1, 0.0, 0.0),
    (50, 0.1, 3e-4, 1e-3),
    (50, 0.1, 1e-3, 0.0),
    (50, 0.1, 1e-3, 1e-3),
    (50, 0.1, 1e-3, 1e-2),
    (50, 0.1, 3e-3, 1e-3),
    (50, 0.01, 1e-3, 1e-3),
    (50, 1.0, 1e-3, 1e-3),
    (20, 0.1, 3e-4, 1e-3),
    (20, 0.1, 6e-4, 1e-3),
    (20, 0.1, 1e-3, 1e-3),
    (100, 0.1, 1e-3, 1e-3),
    (100, 0.1, 2e-3, 1e-3),
)


def main() -> None:
    """Print a row a case: nats per token of all and of the second half, tokens a second."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-m", "--model")
    parser.add_argument("--tokens", type=int, default=16_000)
    options = parser.parse_args()
    saved = open_model(options.model)
    corpus = held_out(saved)
    ids = np.concatenate([corpus.context[-1:], corpus.validation[: options.tokens]])
    torch.set_num_threads(1)
    print("| segment | ε | rate | decay | nats | second half | tokens/s |\n" + "|---" * 7 + "|")
    for segment, epsilon, rate, decay in CASES:
        adaptation.SEGMENT, adaptation.EPSILON = segment, epsilon
        adapter = Adapter(saved.config, saved.weights(), corpus.train)
        began = time.perf_counter()
        nats = adapter.read(ids, Setting(rate, decay)).nats
        speed = len(nats) / (time.perf_counter() - began)
        row = f"{nats.mean():.4f} | {nats[len(nats) // 2 :].mean():.4f} | {speed:,.0f}"
        print(f"| {segment} | {epsilon:g} | {rate:g} | {decay:g} | {row} |", flush=True)


if __name__ == "__main__":
    main()
