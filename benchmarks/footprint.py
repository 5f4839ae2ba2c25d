"""What a step of training holds at most, as torch allocates it and as the formula has it.

    python -m benchmarks.footprint

Each cell, one layer and two, in both precisions, 32 lanes of 64; and two more sizes of one cell.
torch's own count of allocations: what torch takes for itself is not in it, and of the weights,
averages and moments only the formula's figure, which both columns share.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from chargen.config import TrainConfig
from chargen.model.spec import CELLS, ModelConfig, parse_stack
from chargen.model.summary import training_memory
from chargen.training.learner import Learner

PRECISIONS = ("float32", "bfloat16")


def most_allocated(work: Callable[[], object]) -> int:
    """Return the most bytes that are allocated at once while this runs."""
    work()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        work()
    events = [e for e in found.profiler.kineto_results.events() if e.name() == "[memory]"]
    changes = [e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())]
    return int(np.cumsum(changes).max())


def compare(stack: str, vocabulary: int = 66, lanes: int = 32, window: int = 64) -> None:
    """Print a row."""
    model = ModelConfig(vocabulary, parse_stack(stack))
    row = f"| `{stack}`, V {vocabulary}, {lanes} x {window} |"
    for precision in PRECISIONS:
        config = TrainConfig(seed=1, dropout=0.2, batch_size=lanes, bptt=window)
        learner = Learner(model, config, lanes, torch.device("cpu"))
        ids = np.random.default_rng(1).integers(vocabulary, size=(lanes, window))
        formula = training_memory(
            model, batch_size=lanes, bptt=window, precision=precision, optimizer="adamw"
        )
        kept = formula.weights + formula.averaged + formula.moments
        step = most_allocated(lambda: learner.learn(ids, ids, 0.5, precision))  # noqa: B023
        measured = (kept + step) / 1e6
        row += f" {measured:.0f} | {formula.total / 1e6:.0f} |"
        row += f" {formula.total / 1e6 / measured - 1:+.0%} |"
    print(row, flush=True)


def main() -> None:
    """Print the table."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    torch.set_num_threads(1)
    print("| model | float32, MB | formula | off | bfloat16, MB | formula | off |")
    print("|---|---|---|---|---|---|---|")
    for kind in CELLS:
        for stack in (f"{kind}:512", f"{kind}:512,{kind}:512"):
            compare(stack)
    compare("lstm:512", vocabulary=2000)
    compare("lstm:512", batch_size=4, bptt=16)
    compare("gru:1024")


if __name__ == "__main__":
    main()
