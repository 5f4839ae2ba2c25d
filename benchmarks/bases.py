"""What a base model gives on the beginning of a text, by its size.

::

    python -m benchmarks.bases TEXT [TEXT ...] --sizes 2000,20000 --time 60s --seeds 1,2,3

Nats per token on the validation part (the last tenth), stateful: Kneser-Ney alone; from scratch,
the network alone and with its counts; the base alone; the base trained on the text, alone and with
counts. Each is a run of ``chargen train`` with nothing but its budget, seed and ``--base``.
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
from typing import Any

COLUMNS = ("text", "Kneser-Ney", "scratch", "+ counts", "base", "tuned", "+ counts", "seconds")


def main() -> None:
    """Print a row per text and size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("texts", nargs="+", type=Path)
    parser.add_argument("--sizes", default="0", help="bytes, with commas; 0 is the whole text")
    parser.add_argument("--time", default="60s")
    parser.add_argument("--seeds", default="1")
    parser.add_argument("--base", default="auto", help="the base model; default: as it is chosen")
    parser.add_argument("--options", default="", help="further options of chargen train")
    asked = parser.parse_args()
    print("| " + " | ".join(COLUMNS) + " |")
    print("|---" * len(COLUMNS) + "|")
    seeds = asked.seeds.split(",")
    for path in asked.texts:
        for size in map(int, asked.sizes.split(",")):
            name = f"{path.name}, {size:,} bytes" if size else path.name
            with tempfile.TemporaryDirectory() as folder:
                text = Path(folder) / path.name
                data = path.read_bytes()
                text.write_bytes(data[: size or len(data)])
                options = ["--time", asked.time, *asked.options.split()]
                rows = [_row(text, [*options, "--seed", seed], asked.base) for seed in seeds]
            means = [statistics.mean(values) for values in zip(*rows, strict=True)]
            *losses, seconds = means
            cells = [name, *(f"{loss:.4f}" for loss in losses), f"{seconds:.0f}"]
            print("| " + " | ".join(cells) + " |", flush=True)


def _row(text: Path, options: list[str], base: str) -> list[float]:
    scratch = _train(text, [*options, "--base", "none"])
    tuned = _train(text, [*options, "--base", base])
    first = next(event for event in tuned if event["event"] == "evaluation")
    before = first["val_loss"] if first["step"] == 0 else float("nan")  # no base was taken
    seconds = tuned[-1]["seconds"]
    return [scratch[0]["ngram_baseline"], *_losses(scratch), before, *_losses(tuned), seconds]


def _losses(events: list[dict[str, Any]]) -> tuple[float, float]:
    return events[-1]["final_network_loss"], events[-1]["final_val_loss"]


def _train(text: Path, options: list[str]) -> list[dict[str, Any]]:
    """Return the events of a run, which is thrown away."""
    command = [sys.executable, "-m", "chargen", "train", str(text), "--json", "--name", "run"]
    environment = {**os.environ, "CHARGEN_CHECKPOINTS": str(text.parent / "runs")}
    done = subprocess.run(
        [*command, "--force", *options], env=environment, stdout=subprocess.PIPE, check=True
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


if __name__ == "__main__":
    main()
