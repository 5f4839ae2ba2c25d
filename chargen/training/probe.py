"""How fast this machine is: matrix rate, characters per second of training and of sampling."""

from __future__ import annotations

import functools
import importlib.util
import time
from collections.abc import Callable

import numpy as np

from chargen.config import TrainConfig
from chargen.data.batches import Batch
from chargen.engine.graph import build_graph
from chargen.engine.onnx import OnnxEngine
from chargen.machine import count_cores
from chargen.model.spec import ModelConfig, parse_stack, weight_shapes

SECONDS = 0.25  # for each figure
VOCABULARY = 65
TRAINED, WRITING = "lstm:256", "lstm:512"  # stacks
SIDE = 1024  # of the matrices

Speeds = dict[str, dict[str, float | None]]
"""What was measured, by the number of threads; None where it does not run."""


def speeds() -> Speeds:
    """Return GFLOP/s and characters per second, with one thread and with all cores."""
    work: dict[str, Callable[[int], float]] = {}
    if _has_torch():
        names = _precisions()
        work = {f"matrices {name}": functools.partial(_matrices, name) for name in names}
        work["training"] = functools.partial(_training, names[-1])
    work["sampling float32"] = functools.partial(_sampling, False)
    work["sampling int8"] = functools.partial(_sampling, True)
    threads = sorted({1, count_cores()})
    return {name: {str(n): _measured(rate, n) for n in threads} for name, rate in work.items()}


def _has_torch() -> bool:
    try:
        return importlib.util.find_spec("torch") is not None
    except (ImportError, ValueError):  # something hides it
        return False


def _measured(rate: Callable[[int], float], threads: int) -> float | None:
    """Return a figure, or None: those that can be had must come whatever is broken."""
    try:
        return rate(threads)
    except Exception:
        return None


def _precisions() -> list[str]:
    """Return the precisions that run on the CPU."""
    try:
        import torch

        from chargen.machine.torch import can_run

        return ["float32", *["bfloat16"] * can_run("bfloat16", torch.device("cpu"))]
    except Exception:  # torch is damaged
        return ["float32"]


def _rate(work: Callable[[], object]) -> float:
    """Return how often a piece of work is done in a second."""
    work()
    count, began = 0, time.perf_counter()
    while time.perf_counter() < began + SECONDS:
        work()
        count += 1
    return count / (time.perf_counter() - began)


def _rate_with(threads: int, work: Callable[[], object]) -> float:
    """Return the rate of work that torch does with a number of threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return _rate(work)
    finally:
        torch.set_num_threads(before)


def _matrices(precision: str, threads: int) -> float:
    """Return GFLOP/s of a product of square matrices."""
    import torch

    matrix = torch.ones(SIDE, SIDE, dtype=getattr(torch, precision))
    return _rate_with(threads, lambda: matrix @ matrix) * 2 * SIDE**3 / 1e9


def _training(precision: str, threads: int) -> float:
    """Return the characters per second of training steps."""
    import torch

    from chargen.training.learner import Learner

    config = TrainConfig()
    learner = Learner(_model(TRAINED), config, config.batch_size, torch.device("cpu"))
    tokens = np.random.default_rng(0).integers(
        VOCABULARY, size=(config.batch_size, config.bptt + 1)
    )
    batch = Batch(tokens)
    return _rate_with(threads, lambda: learner.learn(batch, 0.5, precision)) * tokens.size


def _model(stack: str) -> ModelConfig:
    return ModelConfig(VOCABULARY, parse_stack(stack))


@functools.cache
def _graph(int8: bool) -> bytes:
    config, random = _model(WRITING), np.random.default_rng(0)
    weights = {
        name: random.normal(0, 0.05, shape).astype(np.float32)
        for name, shape in weight_shapes(config).items()
    }
    return build_graph(weights, config, int8=int8)


def _sampling(int8: bool, threads: int) -> float:
    """Return the steps per second of one text."""
    engine = OnnxEngine(_graph(int8), threads)
    ids, state = np.zeros((1, 1), np.int64), engine.init_state(1)
    return _rate(lambda: engine.run(ids, state))
