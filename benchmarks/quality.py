"""Quality of the model that a time budget gives, on texts given by name.

    python -m benchmarks.quality --time 2m tinyshakespeare alice29 [--seeds 1 2 3] [-- OPTIONS]

Trains on each text with the command itself, with no other options than time and seed (and those
after ``--``), in a temporary folder. Losses are in nats per character of the last 10 %, or of the
10 % before a test part (``-- --test-frac .1``), whose loss is printed too: stateful, and stateless
in windows of 256 characters. With several seeds they are means, with half the distance between
the best and the worst. Beside them stand the n-gram baseline (Kneser-Ney of the best order), and
the size for xz and bzip2 of training and validation part together less that of the training part.
Texts come from ``CHARGEN_TEST_CORPORA`` (default ``../shared/corpora``); a path or a built-in name
is taken as it is.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from chargen.config import ReadConfig
from chargen.data.dataset import read_text, tokenize
from chargen.evaluation.baselines import ngram_baseline, packed


def find_text(name: str) -> str:
    """Return the path of a text by its name."""
    folder = Path(os.environ.get("CHARGEN_TEST_CORPORA", "../shared/corpora"))
    found = [path for path in sorted(folder.glob(f"{name}*")) if path.is_file()]
    return str(found[0].absolute()) if found else name


def train(text: str, budget: str, seed: int, options: list[str]) -> dict[str, Any]:
    """Train in a fresh folder; return the model's header, the last metrics and the time."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "chargen", "train", text, "--name", "run", "-q"]
        command += ["--time", budget, "--seed", str(seed), *options]
        began = time.monotonic()
        subprocess.run(command, cwd=folder, check=True)
        seconds = time.monotonic() - began
        lines = (Path(folder) / "checkpoints/run/metrics.jsonl").read_text().splitlines()
        model = [sys.executable, "-m", "chargen", "info", "--json"]
        info = subprocess.run(model, cwd=folder, check=True, capture_output=True).stdout
        return {**json.loads(info), **json.loads(lines[-1]), "command_seconds": seconds}


def baselines(path: str, test_frac: float) -> dict[str, float]:
    """Return the nats per character of n-grams, xz and bzip2 on the validation part."""
    dataset = tokenize(read_text(ReadConfig((path,))), 0.1, test_frac)
    sizes, counted = packed(dataset.train, dataset.validation), ngram_baseline(dataset).score
    return {
        "n-grams": counted.nats_per_token if counted else math.nan,
        **{name: sizes[name] / len(dataset.validation) for name in ("xz", "bzip2")},
    }


def mean(ends: list[dict[str, Any]], name: str) -> str:
    """Return the mean of a figure over runs, and its spread if there are several."""
    values = [end[name] for end in ends]
    spread = f" ±{(max(values) - min(values)) / 2:.4f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.4f}{spread}"


def main() -> None:
    """Print a row per text."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("texts", nargs="+")
    parser.add_argument("--time", default="2m")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    ours, options = sys.argv[1:], []
    if "--" in ours:
        ours, options = ours[: ours.index("--")], ours[ours.index("--") + 1 :]
    arguments = parser.parse_args(ours)
    test_frac = (
        float(options[options.index("--test-frac") + 1]) if "--test-frac" in options else 0.0
    )
    wide = 16 if len(arguments.seeds) > 1 else 9
    print(
        f"{'text':16} {'stateful':>{wide}} {'stateless':>{wide}} {'test':>7} {'n-grams':>8} "
        f"{'xz':>7} {'bzip2':>7} {'chars/s':>8} {'seconds':>8} {'MB':>6} {'steps':>6}  stack"
    )
    for name in arguments.texts:
        path = find_text(name)
        ends = [train(path, arguments.time, seed, options) for seed in arguments.seeds]
        last, others = ends[-1], baselines(path, test_frac)
        test = last["final_test_loss"]
        print(
            f"{name:16} {mean(ends, 'final_val_loss'):>{wide}} "
            f"{mean(ends, 'final_stateless_loss'):>{wide}} "
            f"{'' if test is None else f'{test:.4f}':>7} {others['n-grams']:8.4f} "
            f"{others['xz']:7.4f} {others['bzip2']:7.4f} {last['characters_per_second']:8,} "
            f"{last['command_seconds']:8.1f} {last['peak_memory_bytes'] / 1e6:6.0f} "
            f"{last['steps']:6,}  {last['stack']}",
            flush=True,
        )


if __name__ == "__main__":
    main()
