"""Loss of modern cells and of chargen's own, with as many recurrent weights.

    python -m benchmarks.modern_cells [TEXT ...] [--steps 600] [--seeds 1 2]

The first million characters of each text, one thread. First the processor time of a training step
of each cell, all cells in turn in one process, in the faster of float32 and bfloat16. Then two
tables a text: at equal time each cell takes the steps that fit into the processor time of the
LSTM's ``--steps``, at equal steps it takes as many as the LSTM, as if its code were as fast. The
learning-rate schedule ends with the steps. The recipe is that of ``chargen train``, with n-gram
embeddings; chargen's cells have their own learning rates, the others the better of the LSTM's and
half of it, chosen at equal time with the first seed. The loss is that of the last 10 %, in nats per
character.
"""

from __future__ import annotations

import argparse
import functools
import math
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from benchmarks.modern_cells import MODERN, registered
from benchmarks.modern_cells.base import LSTM_RATE
from benchmarks.quality import find_text
from chargen.config import ReadConfig, TrainConfig
from chargen.data.batches import Batches
from chargen.data.dataset import Dataset, read_text, tokenize
from chargen.evaluation.validation import score_streams
from chargen.machine import keep_memory
from chargen.model.ngrams import NGramConfig, token_codes
from chargen.model.spec import CELLS, LayerConfig, ModelConfig, weight_shapes
from chargen.training.configuration import fill, ngram_rows
from chargen.training.learner import Learner

OWN = ("lstm", "gru", "mingru")
HIDDEN = 256  # of the LSTM, which sets the number of recurrent weights
CHARACTERS = 1_000_000
BATCH_SIZE, BPTT = 32, 64
PRECISIONS = ("float32", "bfloat16")
DEPTHS = {cell.kind: cell.depth for cell in MODERN} | {"mingru": 3}
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Job:
    """A model to train: its cell and text, and what is tried."""

    text: str
    kind: str
    precision: str
    rate: float
    steps: int
    seed: int


# -- one model ----------------------------------------------------------------------------


@functools.cache
def dataset_of(name: str) -> Dataset:
    """Return the beginning of a text, in characters, with a validation part of 10 %."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CHARGEN_CACHE"] = folder
        path = Path(folder, "text.txt")
        path.write_text(Path(find_text(name)).read_text(encoding="utf-8")[:CHARACTERS])
        return tokenize(read_text(ReadConfig((str(path),))), 0.1)


def recurrent_weights(model: ModelConfig) -> int:
    """Return the number of weights of the recurrent layers."""
    shapes = weight_shapes(model).items()
    return sum(math.prod(shape) for name, shape in shapes if name.startswith("layers."))


@functools.cache
def layers_of(kind: str) -> tuple[LayerConfig, ...]:
    """Return the layers of a cell with about as many weights as the LSTM has."""
    goal = recurrent_weights(ModelConfig(1, (LayerConfig("lstm", HIDDEN),)))
    stacks = ((LayerConfig(kind, width),) * DEPTHS.get(kind, 1) for width in range(32, 1024, 8))
    whole = (stack for stack in stacks if fits(kind, stack[0].hidden))
    return min(whole, key=lambda stack: abs(recurrent_weights(ModelConfig(1, stack)) - goal))


def fits(kind: str, hidden: int) -> bool:
    """Tell whether each head of a cell has a multiple of eight units, which is fast."""
    return all(hidden % (8 * cell.heads) == 0 for cell in MODERN if cell.kind == kind)


def learner_of(job: Job) -> tuple[Learner, Batches]:
    """Return a model at its beginning, and its batches."""
    dataset = dataset_of(job.text)
    tokenizer = dataset.tokenizer
    rows = ngram_rows(dataset.train, tokenizer.vocab_size)
    ngrams = NGramConfig(rows, token_codes(tokenizer.pieces)) if rows else None
    model = ModelConfig(tokenizer.vocab_size, layers_of(job.kind), ngrams=ngrams)
    batches = Batches.of(dataset, BATCH_SIZE, BPTT, job.seed)
    given = TrainConfig(seed=job.seed, steps=job.steps, learning_rate=job.rate)
    config = fill(given, model, job.steps / batches.steps_per_epoch)
    return Learner(model, config, BATCH_SIZE, CPU), batches


def train(job: Job) -> float:
    """Train a model and return its validation loss in nats per character."""
    with registered():
        keep_memory()
        torch.set_num_threads(1)
        learner, batches = learner_of(job)
        began = time.process_time()
        for step in range(job.steps):
            learner.learn(batches.batch(step), step / job.steps, job.precision)
        seconds = time.process_time() - began
        loss = score_streams(learner.averaged, dataset_of(job.text).validation).nats_per_token
    print(f"{job} {loss:.4f} {seconds:.1f} s", file=sys.stderr, flush=True)
    return loss


# -- time of a step -----------------------------------------------------------------------


def step_seconds(text: str, kinds: list[str], times: int) -> dict[tuple[str, str], float]:
    """Return the median processor time of a step by cell and precision, all in turn."""
    torch.set_num_threads(1)
    keys = [(kind, precision) for kind in kinds for precision in PRECISIONS]
    jobs = {key: Job(text, *key, LSTM_RATE, 100, 1) for key in keys}
    learners = {key: learner_of(job) for key, job in jobs.items()}
    taken: dict[tuple[str, str], list[float]] = {key: [] for key in keys}
    for step in range(times + 2):
        for key, (learner, batches) in learners.items():
            began = time.process_time()
            learner.learn(batches.batch(step), 0.5, key[1])
            taken[key].append(time.process_time() - began)
    return {key: statistics.median(seconds[2:]) for key, seconds in taken.items()}


def print_costs(costs: dict[tuple[str, str], float], kinds: list[str]) -> None:
    """Print the sizes of the models and the time of their steps, as a table in Markdown."""
    print(
        "| cell | layers | recurrent weights | float32, ms | bfloat16, ms | steps in equal time |"
    )
    print("|---|---|---|---|---|---|")
    lstm = min(costs["lstm", precision] for precision in PRECISIONS)
    for kind in kinds:
        layers, both = layers_of(kind), [costs[kind, precision] for precision in PRECISIONS]
        weights = recurrent_weights(ModelConfig(1, layers))
        times = " | ".join(f"{1e3 * seconds:.1f}" for seconds in both)
        size = f"{len(layers)} x {layers[0].hidden} | {weights:,}"
        print(f"| `{kind}` | {size} | {times} | {lstm / min(both):.2f} |", flush=True)


# -- comparison ---------------------------------------------------------------------------


def compare(
    pool: Executor, text: str, costs: dict[tuple[str, str], float], steps: int, seeds: list[int]
) -> None:
    """Print the losses of all cells on a text, at equal time and at equal steps."""
    kinds = list(dict.fromkeys(kind for kind, _ in costs))
    precisions = {kind: min(PRECISIONS, key=lambda p: costs[kind, p]) for kind in kinds}
    fastest = {kind: costs[kind, precision] for kind, precision in precisions.items()}
    tried = [
        Job(text, kind, precisions[kind], rate, round(steps * fastest["lstm"] / seconds), seeds[0])
        for kind, seconds in fastest.items()
        for rate in ([CELLS[kind].learning_rate] if kind in OWN else [LSTM_RATE, LSTM_RATE / 2])
    ]
    losses = dict(zip(tried, pool.map(train, tried), strict=True))
    best = [min((j for j in tried if j.kind == kind), key=lambda j: losses[j]) for kind in kinds]
    timed = [[replace(job, seed=seed) for seed in seeds] for job in best]
    equal = [[replace(job, steps=steps) for job in row] for row in timed]
    missing = [job for row in (*timed, *equal) for job in row if job not in losses]
    missing = list(dict.fromkeys(missing))
    losses |= zip(missing, pool.map(train, missing), strict=True)
    print(f"\n| {text}: cell | learning rate | steps | equal time | {steps} steps |")
    print("|---|---|---|---|---|")
    for rows in zip(timed, equal, strict=True):
        job, figures = rows[0][0], (summary([losses[job] for job in row]) for row in rows)
        print(f"| `{job.kind}` | {job.rate:g} | {job.steps} | {' | '.join(figures)} |", flush=True)


def summary(losses: list[float]) -> str:
    """Return the mean of losses over seeds, and half the distance of the extremes."""
    return f"{statistics.mean(losses):.4f} ±{(max(losses) - min(losses)) / 2:.4f}"


def main() -> None:
    """Print the table of the costs, and one of the losses for each text."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("texts", nargs="*", default=["tinyshakespeare", "warpeace"])
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--times", type=int, default=21)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--cells", nargs="+", default=[*OWN, *(cell.kind for cell in MODERN)])
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    kinds = list(dict.fromkeys(["lstm", *arguments.cells]))
    with registered():
        costs = step_seconds(arguments.texts[0], kinds, arguments.times)
        print_costs(costs, kinds)
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(arguments.jobs, context) as pool:
            for text in arguments.texts:
                compare(pool, text, costs, arguments.steps, arguments.seeds)


if __name__ == "__main__":
    main()
