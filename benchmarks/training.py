"""How fast each cell learns, beside torch.nn's own and the machine's matrix rate.

    python -m benchmarks.training [--times 9]

Forward and backward of one recurrent layer with 64 inputs, in float32 and bfloat16, all in one
run. The share is that of six operations a weight and character at the matrix rate measured
here, in the better of the two types.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from chargen.cells import CELL_CLASSES
from chargen.config import TrainConfig
from chargen.devices import count_cores

INPUTS = 64
SIZES = ((512, 32, 64), (128, 50, 64))  # hidden units, lanes, steps
TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


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
    hidden, lanes, steps = size
    cell = CELL_CLASSES[kind](INPUTS, hidden)
    with torch.no_grad():
        cell.reset(torch.Generator().manual_seed(1), TrainConfig())
    x = torch.randn(lanes, steps, INPUTS, requires_grad=True)
    state = cell.init_state(lanes)

    def work() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype is torch.bfloat16):
            y, _ = cell.run(x, state)
        y.float().sum().backward()  # type: ignore[no-untyped-call]

    return lanes * steps / seconds_of(work, times)


def main() -> None:
    """Print a table a size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=9)
    times = parser.parse_args().times
    torch.set_num_threads(count_cores())
    rates = {name: matrix_rate(dtype, times) for name, dtype in TYPES.items()}
    print(", ".join(f"{name} {rate / 1e9:,.0f} GFLOP/s" for name, rate in rates.items()))
    for size in SIZES:
        print(f"\nhidden {size[0]}, lanes {size[1]}, steps {size[2]}, characters/s")
        print(f"{'cell':16}{'float32':>10}{'bfloat16':>10}  best / torch.nn's  share of rate")
        best: dict[str, float] = {}
        for kind in CELL_CLASSES:
            speeds = {n: characters_per_second(kind, size, d, times) for n, d in TYPES.items()}
            name = max(speeds, key=lambda n: speeds[n])
            best[kind] = speeds[name]
            weights = sum(p.numel() for p in CELL_CLASSES[kind](INPUTS, size[0]).parameters())
            share = 6 * weights * best[kind] / rates[name]
            family = best[kind.partition("-")[0]]
            print(
                f"{kind:16}{speeds['float32']:10,.0f}{speeds['bfloat16']:10,.0f}"
                f"{best[kind] / family:19.2f}{share:15.0%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
