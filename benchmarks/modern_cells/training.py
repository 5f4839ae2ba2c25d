"""Models of the comparison in training: sizes, recipe, losses, and the time of a step."""

from __future__ import annotations

import functools
import math
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
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
from chargen.machine.torch import can_run
from chargen.model.ngrams import NGramConfig, token_codes
from chargen.model.spec import LayerConfig, ModelConfig, weight_shapes
from chargen.training.configuration import fill, ngram_rows
from chargen.training.learner import Learner

HIDDEN = 256  # of the LSTM, which sets the number of recurrent weights
CHARACTERS = 1_000_000
BATCH_SIZE, BPTT = 32, 64
DEPTHS = {cell.kind: cell.depth for cell in MODERN} | {"mingru": 3}
CPU = torch.device("cpu")
PRECISIONS = tuple(name for name in ("float32", "bfloat16") if can_run(name, CPU))


@dataclass(frozen=True)
class Trial:
    """A model to train: its cell and text, and what is tried."""

    text: str
    kind: str
    precision: str
    rate: float
    steps: int
    seed: int


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


def learner_of(trial: Trial) -> tuple[Learner, Batches]:
    """Return a model at its beginning, and its batches."""
    dataset = dataset_of(trial.text)
    tokenizer = dataset.tokenizer
    rows = ngram_rows(dataset.train, tokenizer.vocab_size)
    ngrams = NGramConfig(rows, token_codes(tokenizer.pieces)) if rows else None
    model = ModelConfig(tokenizer.vocab_size, layers_of(trial.kind), ngrams=ngrams)
    batches = Batches.of(dataset, BATCH_SIZE, BPTT, trial.seed)
    given = TrainConfig(seed=trial.seed, steps=trial.steps, learning_rate=trial.rate)
    config = fill(given, model, trial.steps / batches.steps_per_epoch)
    return Learner(model, config, BATCH_SIZE, CPU), batches


def train(trial: Trial) -> float:
    """Train a model and return its validation loss in nats per character."""
    with registered():
        keep_memory()
        torch.set_num_threads(1)
        learner, batches = learner_of(trial)
        began = time.process_time()
        for step in range(trial.steps):
            learner.learn(batches.batch(step), step / trial.steps, trial.precision)
        seconds = time.process_time() - began
        loss = score_streams(learner.averaged, dataset_of(trial.text).validation).nats_per_token
    print(f"{trial} {loss:.4f} {seconds:.1f} s", file=sys.stderr, flush=True)
    return loss


def step_seconds(text: str, kinds: list[str], times: int) -> dict[tuple[str, str], float]:
    """Return the median processor time of a step by cell and precision, all in turn."""
    torch.set_num_threads(1)
    keys = [(kind, precision) for kind in kinds for precision in PRECISIONS]
    trials = {key: Trial(text, *key, LSTM_RATE, 100, 1) for key in keys}
    learners = {key: learner_of(trial) for key, trial in trials.items()}
    taken: dict[tuple[str, str], list[float]] = {key: [] for key in keys}
    for step in range(times + 2):
        for key, (learner, batches) in learners.items():
            began = time.process_time()
            learner.learn(batches.batch(step), 0.5, key[1])
            taken[key].append(time.process_time() - began)
    return {key: statistics.median(seconds[2:]) for key, seconds in taken.items()}
