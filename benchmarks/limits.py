"""Speed of generation against the limits of the machine: memory bandwidth and matrix units.

    python -m benchmarks.limits [--seconds 2] [--sizes 1x128 2x512 3x1024]

All figures come from one run, each a median. "limit" is the time to read as many bytes as the
weights have once, with both cores (a sum in torch). "everything" is engine, filters at their
defaults, sampling, decoding and output; the part that is not the engine's is measured with an
engine that does nothing. For 64 samples the rate of the matrix units is that of a product of two
2048 x 2048 matrices in float32.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.sampling import ALPHABET
from chargen.config import SampleConfig, TrainConfig
from chargen.display.output import Output
from chargen.engine import Engine, State
from chargen.engine.graph import build_graph
from chargen.engine.onnx import OnnxEngine
from chargen.model.language_model import LanguageModel
from chargen.model.spec import LayerConfig, ModelConfig, count_parameters
from chargen.sampling.sampler import Sampler
from chargen.tokenizers import build_tokenizer

LENGTH = 200  # characters of a text


def seconds_of(step: Callable[[], object], seconds: float) -> float:
    """Return how long a step takes: the median of nine slices of the time."""
    for _ in range(5):
        step()
    slices = []
    for _ in range(9):
        count, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds / 9:
            step()
            count += 1
        slices.append((time.perf_counter() - began) / count)
    return statistics.median(slices)


def engine_step(engine: OnnxEngine, batch: int) -> Callable[[], None]:
    """Return a step of the engine alone."""
    ids, state = np.ones((batch, 1), np.int64), engine.init_state(batch)

    def step() -> None:
        nonlocal state
        _, state = engine.run(ids, state)

    return step


def generating(engine: Engine, batch: int) -> Callable[[], None]:
    """Return a step of everything: ``LENGTH`` characters per text, those of the first printed."""
    sampler = Sampler(build_tokenizer("char", ALPHABET, 0), engine)
    output = Output(open(os.devnull, "w"))  # noqa: SIM115, PTH123
    config, state = SampleConfig(length=LENGTH, seed=1), sampler.read("")

    def step() -> None:
        for pairs in sampler.decode(state, config, batch):
            output.write(pairs[0][1])

    return step


def prompt_speed(engine: OnnxEngine) -> float:
    """Return the characters of a prompt that are read per second."""
    sampler = Sampler(build_tokenizer("char", ALPHABET, 0), engine)
    began = time.perf_counter()
    sampler.read("a prompt, " * 800)
    return 8000 / (time.perf_counter() - began)


class Idle:
    """An engine that takes no time, so that the rest is measured."""

    def __init__(self, vocab_size: int) -> None:
        self._logits = np.random.default_rng(1).normal(0, 2, (1, 1, vocab_size)).astype(np.float32)

    def init_state(self, batch: int) -> State:
        """Return an empty state."""
        return (np.zeros((1, batch, 0), np.float32),)

    def run(self, ids: NDArray[np.int64], state: State) -> tuple[NDArray[np.float32], State]:
        """Return the same logits, whatever was read; for a batch of one only."""
        return self._logits, state


def reading(count: int) -> Callable[[], object]:
    """Return a step that reads so many bytes."""
    data = torch.ones(count // 4)
    return data.sum


def matrix_rate(seconds: float) -> float:
    """Return the operations per second of a large product in float32."""
    matrix = torch.rand(2048, 2048)
    return 2 * 2048**3 / seconds_of(lambda: matrix @ matrix, seconds)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--sizes", nargs="+", default=["1x128", "2x512", "3x1024"])
    options = parser.parse_args()
    torch.set_num_threads(2)
    rate = matrix_rate(options.seconds)
    ours = 1e6 * seconds_of(generating(Idle(len(ALPHABET) + 1), 1), options.seconds) / LENGTH
    print(f"batch 1, microseconds per character, of which {ours:.0f} are not the engine's")
    print("size    precision  engine  everything  limit  reached   characters/s  of a prompt/s")
    batches = []
    for size in options.sizes:
        layers, hidden = map(int, size.split("x"))
        config = ModelConfig(len(ALPHABET) + 1, (LayerConfig("lstm", hidden),) * layers)
        weights = LanguageModel(config, TrainConfig(seed=1)).weights()
        used = count_parameters(config) - config.vocab_size * config.embedding  # in each step
        for int8 in (False, True):
            engine = OnnxEngine(build_graph(weights, config, int8=int8), 2)
            limit = 1e6 * seconds_of(reading(used * (1 if int8 else 4)), options.seconds)
            alone = 1e6 * seconds_of(engine_step(engine, 1), options.seconds)
            whole = 1e6 * seconds_of(generating(engine, 1), options.seconds) / LENGTH
            print(
                f"{size:7} {'int8' if int8 else 'float32':9} {alone:7.0f} {whole:11.0f} "
                f"{limit:6.0f} {limit / alone:8.0%} {1e6 / whole:14,.0f} "
                f"{prompt_speed(engine):14,.0f}",
                flush=True,
            )
            side = seconds_of(generating(engine, 64), options.seconds) / LENGTH / 64
            batches.append((size, int8, 1 / side, 1e-6 * whole / side, 2 * used / side / rate))
    print(f"\n64 samples side by side; matrix units {rate / 1e9:.0f} GFLOP/s in float32")
    print("size    precision  characters/s  times batch 1  of the matrix rate")
    for size, int8, speed, times, share in batches:
        name = "int8" if int8 else "float32"
        print(f"{size:7} {name:9} {speed:13,.0f} {times:14.1f} {share:19.0%}")


if __name__ == "__main__":
    main()
