"""Speed of training of each cell, beside those of torch.nn and the machine's matrix rate.

    python -m benchmarks.training [--times 9]

Forward and backward of one recurrent layer with 64 inputs, in float32 and bfloat16, all in one
run. The ratio is that of the better type to the cell of the family in torch.nn. The fraction of
the rate counts six operations per weight and character, against the matrix rate measured here in
that type. Then the cost of the whole training loop on top of the model's own forward and backward.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console

from chargen.cli.console import show
from chargen.config import ReadConfig, TrainConfig
from chargen.data.batches import Batches
from chargen.machine import count_cores, keep_memory
from chargen.machine.torch import autocast
from chargen.model.cells import CELL_CLASSES
from chargen.model.loss import token_losses
from chargen.model.options import ModelOptions
from chargen.training.learner import Learner
from chargen.training.optimizer import LockedDropout
from chargen.training.run_state import RunState
from chargen.training.start import start_run
from chargen.training.trainer import Trainer

INPUTS = 64
SIZES = ((512, 32, 64), (128, 50, 64), (512, 32, 256))  # hidden units, batch size, steps
TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
STEPS = 40  # of a training loop


def seconds_of(work: Callable[[], object], times: int) -> float:
    """Return the median time of some work."""
    work()
    work()
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def matrix_rate(dtype: torch.dtype, times: int) -> float:
    """Return the operations per second of a large square product."""
    a, b = torch.randn(2048, 2048).to(dtype), torch.randn(2048, 2048).to(dtype)
    return 2 * 2048**3 / seconds_of(lambda: a @ b, times)


def characters_per_second(
    kind: str, size: tuple[int, int, int], dtype: torch.dtype, times: int
) -> float:
    """Return the characters learned per second by one layer of a cell."""
    hidden, batch_size, steps = size
    cell = CELL_CLASSES[kind](INPUTS, hidden)
    with torch.no_grad():
        cell.reset(torch.Generator().manual_seed(1), TrainConfig())
    x = torch.randn(batch_size, steps, INPUTS, requires_grad=True)
    state = cell.init_state(batch_size)

    def work() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype is torch.bfloat16):
            y, _ = cell.run(x, state)
        y.float().sum().backward()  # type: ignore[no-untyped-call]

    return batch_size * steps / seconds_of(work, times)


def print_cells(size: tuple[int, int, int], rates: dict[str, float], times: int) -> None:
    """Print a row per cell."""
    print(f"\nhidden {size[0]}, batch size {size[1]}, steps {size[2]}, characters/s")
    print(f"{'cell':16}{'float32':>10}{'bfloat16':>10}  best / torch.nn's  of the rate")
    best: dict[str, float] = {}
    for kind in CELL_CLASSES:
        speeds = {n: characters_per_second(kind, size, d, times) for n, d in TYPES.items()}
        name = max(speeds, key=lambda n: speeds[n])
        best[kind] = speeds[name]
        weights = sum(p.numel() for p in CELL_CLASSES[kind](INPUTS, size[0]).parameters())
        share = 6 * weights * best[kind] / rates[name]
        family = best[kind.partition("-")[0].removeprefix("min")]
        print(
            f"{kind:16}{speeds['float32']:10,.0f}{speeds['bfloat16']:10,.0f}"
            f"{best[kind] / family:19.2f}{share:15.0%}",
            flush=True,
        )


def loop_seconds(run: RunState) -> float:
    """Return the median time of a step of the trainer, progress bar included."""
    moments: list[float] = []

    def stop() -> bool:
        moments.append(time.perf_counter())
        return len(moments) > STEPS

    with Path(os.devnull).open("w") as nowhere:
        console = Console(file=nowhere, force_terminal=True)
        list(show(Trainer(run, time.monotonic(), stop).events(), console, "words"))
    return statistics.median(b - a for a, b in itertools.pairwise(moments[4:]))


def model_seconds(run: RunState) -> float:
    """Return the median time of the model's forward and backward on the same batches."""
    plan, learner = run.plan, Learner(run.model, run.config, run.plan.batch_size, run.device)
    dropout = LockedDropout(run.config, torch.Generator().manual_seed(1))
    batches = Batches(run.dataset.train, plan.batch_size, plan.bptt)
    tokens = torch.from_numpy(batches.batch(0).tokens)
    state = learner.model.init_state(plan.batch_size)

    def work() -> None:
        learner.model.zero_grad(set_to_none=True)
        with autocast(run.device, plan.precision):
            loss = token_losses(learner.model, tokens, state, dropout)[0].mean()
        loss.backward()  # type: ignore[no-untyped-call]

    return seconds_of(work, STEPS)


def print_loop(hidden: int) -> None:
    """Print what the whole loop costs on top of the model, the median of five pairs."""
    reading, options = ReadConfig(("builtin:pydoc",)), ModelOptions(f"lstm:{hidden}", embedding=64)
    config, threads = TrainConfig(steps=10**6, seed=1), count_cores()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CHARGEN_CHECKPOINTS"] = folder
        with start_run(reading, options, config, device="cpu", threads=threads) as run:
            pairs = [(loop_seconds(run), model_seconds(run)) for _ in range(5)]
    loop, model = (statistics.median(part) for part in zip(*pairs, strict=True))
    more = statistics.median(loop / model for loop, model in pairs) - 1
    print(
        f"hidden {hidden}: model {1e3 * model:.2f} ms, loop {1e3 * loop:.2f} ms a step, "
        f"{more:.1%} more ({run.plan.precision})",
        flush=True,
    )


def main() -> None:
    """Print the cost of the loop, and a table per size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=9)
    times = parser.parse_args().times
    keep_memory()
    torch.set_num_threads(count_cores())
    rates = {name: matrix_rate(dtype, times) for name, dtype in TYPES.items()}
    print(", ".join(f"{name} {rate / 1e9:,.0f} GFLOP/s" for name, rate in rates.items()))
    print("\nthe training loop of one LSTM layer")
    for hidden in (512, 128):
        print_loop(hidden)
    for size in SIZES:
        print_cells(size, rates, times)


if __name__ == "__main__":
    main()
