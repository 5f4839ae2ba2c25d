"""What each part of the recipe gives: ablations at a fixed number of steps.

    python -m benchmarks.recipe GROUP [GROUP ...] [--texts lua_src@1000 alice29@1000] [--seed 1]

A text is NAME@STEPS, or NAME@STEPS@CHARACTERS for its beginning only. Each row of a group is
trained by the command itself, one thread on a core of its own, as many at once as there are
cores; the figures are validation losses in nats per character, carried state. Without GROUP
the groups are listed.
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

GROUPS = {
    "default": [""],
    "dropout": ["--dropout 0", "--dropout .1", "--dropout .25", "--dropout .4", "--dropout .55"],
    "kinds": ["--input-dropout .1", "--embedding-dropout .05", "--weight-drop .2"],
    "schedule": ["--schedule linear", "--schedule trapezoid", "--schedule one-cycle"],
    "decay": ["--weight-decay 0", "--weight-decay .1", "--weight-decay .3"],
    "average": ["--average 0", "--average .995", "--average .998"],
    "clip": ["--clip .25", "--clip 5"],
    "warmup": ["--warmup 0", "--warmup .02", "--warmup .1"],
    "optimizer": ["--optimizer adam", "--optimizer rmsprop", "--optimizer sgd"],
    "lanes": ["--shuffle 8"],
    "tie": ["--tie 1"],
}


def jobs_of(texts: list[str], groups: list[str]) -> list[tuple[str, str]]:
    """Return the pairs of text and options to train."""
    rows = [options for group in groups for options in GROUPS.get(group, [group])]
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
        command += ["--precision", "bfloat16", *shlex.split(options)]
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
    """Print a line a run, as they end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("groups", nargs="*")
    parser.add_argument("--texts", nargs="+", default=["lua_src@1000", "alice29@1000"])
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if not arguments.groups:
        print("\n".join(f"{name:10} {', '.join(rows)}" for name, rows in GROUPS.items()))
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
        print(f"{job[0]:24} {loss:9.4f} {seconds:8.1f} s  {job[1] or '(defaults)'}", flush=True)

    with ThreadPoolExecutor(len(cores)) as pool:
        list(pool.map(work, jobs_of(arguments.texts, arguments.groups)))


if __name__ == "__main__":
    main()
