"""Loss of modern cells and of chargen's own, with as many recurrent weights.

    python -m benchmarks.modern_cells [TEXT ...] [--steps 600] [--seeds 1 2]

The first million characters of each text, one thread. First the processor time of a training step
of each cell, all cells in turn in one process. From then on each cell is trained in the faster of
float32 and bfloat16. At equal time it takes the steps that fit into the processor time of the
LSTM's ``--steps``; at equal steps it takes as many as the LSTM, as if its code were as fast, with
the first seed only. The learning-rate schedule ends with the steps. The recipe is that of ``chargen
train``, with n-gram embeddings; chargen's cells have their own learning rates, the others the
better of the LSTM's and half of it, chosen at equal time with the first seed. The loss is that of
the last 10 %, in nats per character.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import replace

from benchmarks.modern_cells import MODERN, registered
from benchmarks.modern_cells.base import LSTM_RATE
from benchmarks.modern_cells.training import (
    PRECISIONS,
    Trial,
    layers_of,
    recurrent_weights,
    step_seconds,
    train,
)
from chargen.model.spec import CELLS, ModelConfig

OWN = ("lstm", "gru", "mingru")


def print_costs(costs: dict[tuple[str, str], float], kinds: list[str]) -> None:
    """Print the sizes of the models and the time of their steps, as a table in Markdown."""
    timed = " | ".join(f"{precision}, ms" for precision in PRECISIONS)
    print(f"| cell | layers | recurrent weights | {timed} | steps in equal time |")
    print("|---|---|---|---|" + "---|" * len(PRECISIONS))
    lstm = min(costs["lstm", precision] for precision in PRECISIONS)
    for kind in kinds:
        layers, both = layers_of(kind), [costs[kind, precision] for precision in PRECISIONS]
        weights = recurrent_weights(ModelConfig(1, layers))
        times = " | ".join(f"{1e3 * seconds:.1f}" for seconds in both)
        size = f"{len(layers)} x {layers[0].hidden} | {weights:,}"
        print(f"| `{kind}` | {size} | {times} | {lstm / min(both):.2f} |", flush=True)


def compare(
    pool: Executor, text: str, costs: dict[tuple[str, str], float], steps: int, seeds: list[int]
) -> None:
    """Print the losses of all cells on a text, at equal time and at equal steps."""
    tried = first_trials(text, costs, steps, seeds[0])
    losses = dict(zip(tried, pool.map(train, tried), strict=True))
    best: dict[str, Trial] = {}
    for trial in sorted(tried, key=lambda trial: losses[trial]):
        best.setdefault(trial.kind, trial)
    timed = {kind: [replace(trial, seed=seed) for seed in seeds] for kind, trial in best.items()}
    equal = {kind: [replace(trial, steps=steps)] for kind, trial in best.items()}
    every = (trial for table in (timed, equal) for row in table.values() for trial in row)
    missing = [trial for trial in every if trial not in losses]
    losses |= zip(missing, pool.map(train, missing), strict=True)
    print(f"\n| {text} | learning rate | steps | equal time | {steps} steps |")
    print("|---|---|---|---|---|")
    for kind in dict.fromkeys(trial.kind for trial in tried):
        trial = best[kind]
        figures = (summary([losses[trial] for trial in row[kind]]) for row in (timed, equal))
        print(f"| `{kind}` | {trial.rate:g} | {trial.steps} | {' | '.join(figures)} |", flush=True)


def first_trials(
    text: str, costs: dict[tuple[str, str], float], steps: int, seed: int
) -> list[Trial]:
    """Return the trials at equal time: one a cell of chargen, two of the others."""
    trials = []
    lstm = min(costs["lstm", precision] for precision in PRECISIONS)
    for kind in dict.fromkeys(kind for kind, _ in costs):
        precision = min(PRECISIONS, key=lambda precision: costs[kind, precision])
        rates = [CELLS[kind].learning_rate] if kind in OWN else [LSTM_RATE, LSTM_RATE / 2]
        own = round(steps * lstm / costs[kind, precision])
        trials += [Trial(text, kind, precision, rate, own, seed) for rate in rates]
    return trials


def summary(losses: list[float]) -> str:
    """Return the mean of losses, and of several half the distance of the extremes."""
    spread = f" ±{(max(losses) - min(losses)) / 2:.4f}" if len(losses) > 1 else ""
    return f"{statistics.mean(losses):.4f}{spread}"


def main() -> None:
    """Print the table of the costs, and one of the losses for each text."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("texts", nargs="*", default=["tinyshakespeare", "warpeace"])
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--times", type=int, default=21)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--cells", nargs="+", default=[*OWN, *(cell.kind for cell in MODERN)])
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    kinds = list(dict.fromkeys(["lstm", *arguments.cells]))
    with registered():
        costs = step_seconds(arguments.texts[0], kinds, arguments.times)
        print_costs(costs, kinds)
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(arguments.jobs, context) as pool:
            for text in arguments.texts:
                compare(pool, text, costs, arguments.steps, arguments.seeds)


if __name__ == "__main__":
    main()
