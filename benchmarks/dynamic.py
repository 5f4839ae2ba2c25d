"""Gain of dynamic evaluation by the length of its segments, ε, learning rate and decay.

Reads the beginning of the held-out part of a model's own text, with one thread:

    python -m benchmarks.dynamic -m lstm
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from chargen.evaluation import dynamic
from chargen.evaluation.dynamic import Adapter, Setting
from chargen.evaluation.heldout import held_out, own_dataset
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
    """Print a row per case: nats per token, those of the second half, tokens per second."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-m", "--model")
    parser.add_argument("--tokens", type=int, default=16_000)
    options = parser.parse_args()
    saved = open_model(options.model)
    dataset = own_dataset(saved)
    segment = held_out(dataset).first(options.tokens)
    ids = np.concatenate([segment.context[-1:], segment.ids])
    torch.set_num_threads(1)
    print("| segment | ε | rate | decay | nats | second half | tokens/s |\n" + "|---" * 7 + "|")
    for length, epsilon, rate, decay in CASES:
        dynamic.SEGMENT, dynamic.EPSILON = length, epsilon
        adapter = Adapter(saved.config, saved.weights(), dataset.train)
        began = time.perf_counter()
        nll = adapter.read(ids, Setting(rate, decay))
        speed = len(nll) / (time.perf_counter() - began)
        row = f"{nll.mean():.4f} | {nll[len(nll) // 2 :].mean():.4f} | {speed:,.0f}"
        print(f"| {length} | {epsilon:g} | {rate:g} | {decay:g} | {row} |", flush=True)


if __name__ == "__main__":
    main()
