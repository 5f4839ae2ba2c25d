"""How good a model a time budget buys, on texts given by name.

    python -m benchmarks.quality --time 2m tinyshakespeare alice29 [--seeds 1 2 3] [-- OPTIONS]

Trains each text by the command itself, with no other option than time and seed (and those
after ``--``), in a folder that is removed again. Losses are in nats per character of the last
10 %, or of the 10 % before a test part (``-- --test-frac .1``), whose loss is printed too: carried
state, and fresh windows of 256 characters; with several seeds their mean, and half the distance
between the best and the worst. Beside them what counting alone reaches (Kneser-Ney of the best
order), and what xz and bzip2 need more for training and validation part than for the training
part alone. Texts come from ``CHARGEN_TEST_CORPORA`` (default ``../shared/corpora``); a path or a
built-in name is taken as it is.
"""

from __future__ import annotations

import argparse
import json
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
from chargen.evaluation.baselines import packed
from chargen.evaluation.validation import score_ngram


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
    """Return what counting, xz and bzip2 reach on the validation part."""
    reading = ReadConfig((path,))
    text = read_text(reading)
    corpus = tokenize(text, 0.1, test_frac)
    packs = packed(corpus.train, corpus)
    return {
        "counting": score_ngram(corpus)[1].nats_per_token,
        **{name: packs[name] / len(corpus.validation) for name in ("xz", "bzip2")},
    }


def mean(ends: list[dict[str, Any]], name: str) -> str:
    """Return the mean of a figure over runs, and its spread if there are several."""
    values = [end[name] for end in ends]
    spread = f" ±{(max(values) - min(values)) / 2:.4f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.4f}{spread}"


def main() -> None:
    """Print a row a text."""
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
    wide = 16 if len(arguments.seeds) > 1 else 8
    print(
        f"{'text':16} {'carried':>{wide}} {'windows':>{wide}} {'test':>7} {'counting':>8} "
        f"{'xz':>7} {'bzip2':>7} {'chars/s':>8} {'seconds':>8} {'MB':>6} {'steps':>6}  stack"
    )
    for name in arguments.texts:
        path = find_text(name)
        ends = [train(path, arguments.time, seed, options) for seed in arguments.seeds]
        last, floors = ends[-1], baselines(path, test_frac)
        test = last["final_test_loss"]
        print(
            f"{name:16} {mean(ends, 'final_val_loss'):>{wide}} "
            f"{mean(ends, 'final_stateless_loss'):>{wide}} "
            f"{'' if test is None else f'{test:.4f}':>7} {floors['counting']:8.4f} "
            f"{floors['xz']:7.4f} {floors['bzip2']:7.4f} {last['characters_per_second']:8,} "
            f"{last['command_seconds']:8.1f} {last['peak_memory_bytes'] / 1e6:6.0f} "
            f"{last['steps']:6,}  {last['stack']}",
            flush=True,
        )


if __name__ == "__main__":
    main()
