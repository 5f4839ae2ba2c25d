"""Inference engines: token ids and state in, logits and state out.

On a CPU the ONNX engine runs, without torch. On a GPU the torch engine runs; it is also the
reference in the tests of the ONNX engine.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from chargen.config import check_threads, require
from chargen.machine.torch import need_torch
from chargen.model.saved import SavedModel
from chargen.model.spec import ModelConfig, label_place
from chargen.storage.checkpoint import Tensors

Logits = NDArray[np.float32]
State = tuple[NDArray[np.float32], ...]
"""The state: one array (1, B, H) for each part of each layer, in order; then, where there are
n-grams, codes of the last tokens for the embeddings, and contexts of the counts: whole numbers."""


class Engine(Protocol):
    """Runs the forward pass of a model. Shapes: B batch size, T steps, V vocabulary."""

    def init_state(self, batch: int) -> State:
        """Return the initial state for a batch of B texts."""
        ...

    def run(self, ids: NDArray[np.int64], state: State) -> tuple[Logits, State]:
        """Return the logits (B, T, V) and the last state for ids (B, T)."""
        ...


def open_engine(
    saved: SavedModel, device: str, threads: int | None, *, int8: bool = False
) -> Engine:
    """Open a model file for inference.

    Args:
        saved: the model.
        device: ``auto`` and ``cpu`` use the ONNX engine, because at one token per call a CPU is as
            fast as a GPU and starts sooner; ``cuda`` and ``mps`` use torch.
        threads: CPU threads; None finds the fastest number.
        int8: use int8 weight matrices, on a CPU only.

    Raises:
        ConfigError: threads is 0 or less, or int8 on a GPU.
        DeviceError: the GPU does not exist, or torch is not installed.
    """
    check_threads(threads)
    require(not int8 or device in ("auto", "cpu"), "device", device, "cpu, where int8 runs")
    if device in ("auto", "cpu"):
        from chargen.engine.onnx import cached_engine

        return complete(saved, cached_engine(saved, threads, int8=int8))
    need_torch(f"device {device!r}")
    from chargen.engine.torch import TorchEngine

    return complete(saved, TorchEngine(saved.weights(), saved.config, device))


def complete(saved: SavedModel, engine: Engine) -> Engine:
    """Return an engine of a model with its n-gram counts mixed in and its labels, if it has any."""
    engine = _with_labels(engine, saved.config)
    if saved.mixture is None:
        return engine
    from chargen.engine.mixture import MixtureEngine

    return MixtureEngine(engine, saved.counts(), saved.mixture)


def _with_labels(engine: Engine, config: ModelConfig) -> Engine:
    if not config.labels:
        return engine
    from chargen.engine.labels import LabelEngine

    return LabelEngine(engine, len(config.labels), label_place(config))


def make_engine(
    weights: Tensors,
    config: ModelConfig,
    device: str,
    threads: int | None = None,
    *,
    int8: bool = False,
) -> Engine:
    """Return an engine for weights in memory; it does not use the cache."""
    if device == "cpu":
        from chargen.engine.graph import build_graph
        from chargen.engine.onnx import OnnxEngine, saturates

        unsigned = int8 and saturates()
        graph = build_graph(weights, config, int8=int8, unsigned=unsigned)
        return _with_labels(OnnxEngine(graph, threads), config)
    from chargen.engine.torch import TorchEngine

    return _with_labels(TorchEngine(weights, config, device), config)
