"""Speed of two processes with a thread each, and of one with two: characters/s in total.

    python -m benchmarks.processes [--stack lstm:512] [--steps 300] [--times 3]

Each figure is the median of several runs of the command, taken in turn, on a text that comes with
Python, with the same batch size in all.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ALONE = [sys.executable, "-m", "chargen"]
TOGETHER = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "chargen"]


def speed(command: list[str], threads: int, stack: str, steps: int) -> float:
    """Return the characters a second of one run."""
    with tempfile.TemporaryDirectory() as folder:
        options = ["--name", "run", "-q", "--seed", "1", "--stack", stack, "--steps", str(steps)]
        options += ["--threads", str(threads), "--precision", "bfloat16", "--val-frac", "0"]
        subprocess.run(
            [*command, "train", "builtin:pydoc", *options],
            cwd=folder,
            check=True,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        )
        lines = (Path(folder) / "checkpoints/run/metrics.jsonl").read_text().splitlines()
        return float(json.loads(lines[-1])["characters_per_second"])


def main() -> None:
    """Print both medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stack", default="lstm:512")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--times", type=int, default=3)
    arguments = parser.parse_args()
    pairs = [
        tuple(
            speed(command, threads, arguments.stack, arguments.steps)
            for command, threads in ((ALONE, 2), (TOGETHER, 1))
        )
        for _ in range(arguments.times)
    ]
    alone, together = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"one process, two threads    {alone:9,.0f} characters/s")
    print(f"two processes, one thread   {together:9,.0f} characters/s")
    print(f"ratio                       {together / alone:9.2f}")


if __name__ == "__main__":
    main()
