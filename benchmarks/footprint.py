"""Peak memory of a training step: as torch allocates it, and by the formula.

    python -m benchmarks.footprint

Each cell with one layer and two, in both precisions, in batches of 32 x 64; and more sizes of one
cell. Allocations are counted by torch's profiler, so that the memory of torch itself is left out.
Weights, averages and moments are not allocated within a step: both columns have the formula's
figure of them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from chargen.config import TrainConfig
from chargen.data.batches import Batch
from chargen.model.spec import CELLS, ModelConfig, parse_stack
from chargen.model.summary import training_memory
from chargen.training.learner import Learner

PRECISIONS = ("float32", "bfloat16")


def most_allocated(work: Callable[[], object]) -> int:
    """Return the peak of allocated bytes while this runs."""
    work()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        work()
    events = [e for e in found.profiler.kineto_results.events() if e.name() == "[memory]"]
    changes = [e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())]
    return int(np.cumsum(changes).max())


def compare(stack: str, vocabulary: int = 66, batch_size: int = 32, bptt: int = 64) -> None:
    """Print a row."""
    model = ModelConfig(vocabulary, parse_stack(stack))
    row = f"| `{stack}`, V {vocabulary}, {batch_size} x {bptt} |"
    for precision in PRECISIONS:
        config = TrainConfig(seed=1, dropout=0.2, batch_size=batch_size, bptt=bptt)
        learner = Learner(model, config, batch_size, torch.device("cpu"))
        tokens = np.random.default_rng(1).integers(vocabulary, size=(batch_size, bptt + 1))
        formula = training_memory(
            model, batch_size=batch_size, bptt=bptt, precision=precision, optimizer="adamw"
        )
        kept = formula.weights + formula.averaged + formula.moments
        step = most_allocated(lambda: learner.learn(Batch(tokens), 0.5, precision))  # noqa: B023
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
