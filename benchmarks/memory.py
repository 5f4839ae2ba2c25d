"""Cost of giving freed memory back to the system between training steps, and of keeping it.

    python -m benchmarks.memory

Forward and backward of whole models in batches of 32 x 64, bfloat16, each in a process of its own
with and without ``machine.keep_memory``: median time and page faults of a step, peak resident size.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

import torch

from chargen.machine import count_cores, keep_memory
from chargen.machine.torch import autocast
from chargen.model.language_model import LanguageModel
from chargen.model.loss import token_losses
from chargen.model.spec import ModelConfig, parse_stack

STACKS = (
    "lstm:512",
    "lstm:512,lstm:512",
    "lstm-norm:512",
    "gru-before:512",
    "mingru:512,mingru:512,mingru:512",
)
STEPS = 25


def faults() -> int:
    """Return the page faults of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def measure(stack: str) -> dict[str, float]:
    """Return milliseconds and page faults of a step, and the peak resident size in MB."""
    torch.set_num_threads(count_cores())
    model = LanguageModel(ModelConfig(66, parse_stack(stack)))
    tokens, state = torch.randint(66, (32, 65)), model.init_state(32)
    times, paged = [], []
    for _ in range(STEPS):
        before, began = faults(), time.perf_counter()
        model.zero_grad(set_to_none=True)
        with autocast(torch.device("cpu"), "bfloat16"):
            loss = token_losses(model, tokens, state)[0].mean()
        loss.backward()  # type: ignore[no-untyped-call]
        times.append(time.perf_counter() - began)
        paged.append(faults() - before)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "ms": 1e3 * statistics.median(times[5:]),
        "faults": statistics.median(paged[5:]),
        "MB": peak,
    }


def main() -> None:
    """Print a row per stack."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", choices=("kept", "given"), help=argparse.SUPPRESS)
    parser.add_argument("--stack", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        if arguments.one == "kept":
            keep_memory()
        print(json.dumps(measure(arguments.stack)))
        return
    print("| stack | given back, ms | faults | MB | kept, ms | faults | MB |")
    print("|---|---|---|---|---|---|---|")
    for stack in STACKS:
        row = f"| `{stack}` |"
        for way in ("given", "kept"):
            command = [sys.executable, "-m", "benchmarks.memory", "--one", way, "--stack", stack]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            figures = json.loads(done.stdout)
            row += f" {figures['ms']:.1f} | {figures['faults']:,.0f} | {figures['MB']:.0f} |"
        print(row, flush=True)


if __name__ == "__main__":
    main()
