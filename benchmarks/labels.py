"""What labels are worth to the loss: a model with them and one without, for the same time.

::

    python -m benchmarks.labels FOLDER [--time 5m] [--seeds 1 2]

Both learn the texts of ``FOLDER/LABEL/*.txt`` with the same parts held out, which are scored with
their labels by the one, and without by the other: it is trained with ``--label-dropout 1``, and the
counts of its labels are left out. The weights of the mixture are fitted for each. Losses are in
nats per token, by the network alone and with n-gram counts. Both are trained at the same time, on
one thread each, so that other work on the machine takes as much from each.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from dataclasses import replace

import numpy as np

from chargen.engine import make_engine
from chargen.evaluation.heldout import own_dataset
from chargen.evaluation.mixing import both_losses, fit_mixture
from chargen.model.counts import NGramCounts
from chargen.model.saved import open_model

TRAIN = ("train", "--label", "folder", "--base", "none", "--force", "--quiet", "--threads", "1")
MODELS = {"with labels": (), "without": ("--label-dropout", "1")}


def train(folder: str, time: str, seed: int) -> dict[str, str]:
    """Train a run of each kind, side by side, and return their names."""
    runs = {name: f"labels-{seed}-{name.split()[0]}" for name in MODELS}
    budget = ("--time", time, "--seed", str(seed))
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "chargen", *TRAIN, *budget, "--name", run, *more, folder]
        )
        for run, more in zip(runs.values(), MODELS.values(), strict=True)
    ]
    for process in started:
        if process.wait():
            raise SystemExit(process.returncode)
    return runs


def losses(run: str, *, labels: bool) -> tuple[float, float, int]:
    """Return the losses of network and mixture on the held-out texts, and the steps of the run."""
    saved = open_model(run)
    segment, counts = own_dataset(saved).validation, saved.counts()
    assert segment.texts is not None
    if not labels:
        none = np.full_like(segment.texts.labels, -1)
        segment = replace(segment, texts=replace(segment.texts, labels=none))
        counts = NGramCounts(counts.table, counts.match)
    engine = make_engine(saved.weights(), saved.config, "cpu")
    mixture = fit_mixture(engine, counts, segment)
    own, whole = both_losses(engine, counts, mixture, segment)
    return float(own.mean()), float(whole.mean()), int(saved.training["step"])


def main() -> None:
    """Print a row per seed and model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder")
    parser.add_argument("--time", default="5m")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    asked = parser.parse_args()
    print("| model | seed | steps | network | with counts |\n|---|---|---|---|---|")
    for seed in asked.seeds:
        for name, run in train(asked.folder, asked.time, seed).items():
            network, whole, steps = losses(run, labels=not MODELS[name])
            print(f"| {name} | {seed} | {steps:,} | {network:.4f} | {whole:.4f} |", flush=True)


if __name__ == "__main__":
    main()
