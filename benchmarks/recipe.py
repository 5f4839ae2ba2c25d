"""Gain of each part of the recipe: ablations at a fixed number of steps.

    python -m benchmarks.recipe [ROW ...] [--texts lua_src@1000 alice29@1000] [--seed 1]

A row is a group of ``GROUPS``, or options in quotes; without one all groups are measured. Each is
trained by the command itself on top of ``BASE``, one thread on a core of its own, as many at once
as there are cores. A text is NAME@STEPS, or NAME@STEPS@CHARACTERS for its beginning only. The
figures are stateful validation losses in nats per character.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from benchmarks.quality import find_text

BASE = "--hidden 512 --layers 1 --dropout .25 --weight-drop 0"
GROUPS = {
    "base": [""],
    "dropout": ["--dropout 0", "--dropout .1", "--dropout .4"],
    "weight-drop": ["--weight-drop .2"],
    "weight-decay": ["--weight-decay .01", "--weight-decay .3"],
    "ema": ["--ema 0", "--ema .998"],
    "clip": ["--clip .25", "--clip 5"],
    "warmup": ["--warmup 0", "--warmup .2"],
    "optimizer": ["--optimizer adam", "--optimizer rmsprop", "--optimizer sgd"],
}


def jobs_of(texts: list[str], groups: list[str]) -> list[tuple[str, str]]:
    """Return the pairs of text and options to train."""
    rows = [options for group in groups or GROUPS for options in GROUPS.get(group, [group])]
    return [(text, options) for options in rows for text in texts]


def train(text: str, options: str, seed: int, core: int) -> tuple[float, float]:
    """Train a text NAME@STEPS[@CHARACTERS] on one core; return its loss and the seconds."""
    name, steps, *size = text.split("@")
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(find_text(name))
        if size:
            content = corpus.read_text()[: int(size[0])]
            corpus = Path(folder, "corpus.txt")
            corpus.write_text(content)
        command = [sys.executable, "-m", "chargen", "train", str(corpus), "--name", "run", "-q"]
        command += ["--steps", steps, "--seed", str(seed), "--threads", "1"]
        command += ["--precision", "bfloat16", *shlex.split(f"{BASE} {options}")]
        began = time.monotonic()
        subprocess.run(
            command,
            cwd=folder,
            check=True,
            stderr=subprocess.DEVNULL,
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        )
        lines = (Path(folder) / "checkpoints/run/metrics.jsonl").read_text().splitlines()
        return json.loads(lines[-1])["final_val_loss"], time.monotonic() - began


def main() -> None:
    """Print a line per run, as they end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*")
    parser.add_argument("--texts", nargs="+", default=["lua_src@1000", "alice29@1000"])
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    free: SimpleQueue[int] = SimpleQueue()
    cores = sorted(os.sched_getaffinity(0))
    for core in cores:
        free.put(core)

    def work(job: tuple[str, str]) -> None:
        core = free.get()
        try:
            loss, seconds = train(*job, arguments.seed, core)
        finally:
            free.put(core)
        print(f"{job[0]:24} {loss:9.4f} {seconds:8.1f} s  {job[1] or BASE}", flush=True)

    with ThreadPoolExecutor(len(cores)) as pool:
        list(pool.map(work, jobs_of(arguments.texts, arguments.rows)))


if __name__ == "__main__":
    main()
