"""How fast this machine is: matrix rate, characters per second of training and of sampling."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable

import numpy as np

from chargen.checkpoint import weight_shapes
from chargen.config import ModelConfig, TrainConfig, parse_stack
from chargen.engine.graph import build_graph
from chargen.engine.onnx import OnnxEngine
from chargen.machine import count_cores

SECONDS = 0.3  # for each figure
VOCABULARY = 65
TRAINED, WRITING = "lstm:256", "lstm:512"  # stacks
SIDE = 1024  # of the matrices

Speeds = dict[str, dict[str, float]]
"""What was measured, and with how many threads."""


def speeds() -> Speeds:
    """Return GFLOP/s and characters per second, with one thread and with all cores."""
    threads = sorted({1, count_cores()})
    measured = _of_torch(threads) if importlib.util.find_spec("torch") else {}
    for name, int8 in (("sampling float32", False), ("sampling int8", True)):
        graph = _graph(int8)
        measured[name] = {str(n): _sampling(OnnxEngine(graph, n)) for n in threads}
    return measured


def _rate(work: Callable[[], object]) -> float:
    """Return how often a piece of work is done in a second."""
    work()
    count, began = 0, time.perf_counter()
    while time.perf_counter() < began + SECONDS:
        work()
        count += 1
    return count / (time.perf_counter() - began)


def _of_torch(threads: list[int]) -> Speeds:
    import torch

    from chargen.machine.torch import can_run

    cpu, before = torch.device("cpu"), torch.get_num_threads()
    names = [name for name in ("float32", "bfloat16") if can_run(name, cpu)]
    measured: Speeds = {what: {} for what in [*(f"matrices {name}" for name in names), "training"]}
    for count in threads:
        torch.set_num_threads(count)
        for name in names:
            measured[f"matrices {name}"][str(count)] = _matrices(name)
        measured["training"][str(count)] = _training(names[-1])
    torch.set_num_threads(before)
    return measured


def _matrices(precision: str) -> float:
    """Return GFLOP/s of a product of square matrices."""
    import torch

    matrix = torch.ones(SIDE, SIDE, dtype=getattr(torch, precision))
    return _rate(lambda: matrix @ matrix) * 2 * SIDE**3 / 1e9


def _training(precision: str) -> float:
    """Return the characters per second of training steps."""
    import torch

    from chargen.learner import Learner

    config = TrainConfig()
    learner = Learner(_model(TRAINED), config, config.lanes, torch.device("cpu"))
    tokens = np.random.default_rng(0).integers(VOCABULARY, size=(config.lanes, config.window))
    return _rate(lambda: learner.learn(tokens, tokens, 0.5, precision)) * tokens.size


def _model(stack: str) -> ModelConfig:
    return ModelConfig(VOCABULARY, parse_stack(stack))


def _graph(int8: bool) -> bytes:
    config, random = _model(WRITING), np.random.default_rng(0)
    weights = {
        name: random.normal(0, 0.05, shape).astype(np.float32)
        for name, shape in weight_shapes(config).items()
    }
    return build_graph(weights, config, int8=int8)


def _sampling(engine: OnnxEngine) -> float:
    """Return the steps per second of one text."""
    ids, state = np.zeros((1, 1), np.int64), engine.init_state(1)
    return _rate(lambda: engine.run(ids, state))
