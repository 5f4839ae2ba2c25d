"""The engine on a CPU: ONNX Runtime, without torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from chargen.cache import kept
from chargen.checkpoint import file_sha256, load_weights
from chargen.config import ModelConfig
from chargen.engine import Logits, State
from chargen.machine import count_cores

GRAPH_VERSION = 3  # of the graphs in the cache; raise it whenever engine/graph.py changes them


class OnnxEngine:
    """Runs a graph made by ``engine.graph.build_graph``."""

    def __init__(self, graph: bytes, threads: int | None = None) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or count_cores()
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        self._session = onnxruntime.InferenceSession(
            graph, options, providers=["CPUExecutionProvider"]
        )
        _, *states = self._session.get_inputs()
        self._names = [state.name for state in states]
        self._widths = [state.shape[2] for state in states]
        self._outputs = [output.name for output in self._session.get_outputs()]

    def init_state(self, batch: int) -> State:
        """Return zeros, (1, B, H) for each part of the state."""
        return tuple(np.zeros((1, batch, width), np.float32) for width in self._widths)

    def run(self, ids: NDArray[np.int64], state: State) -> tuple[Logits, State]:
        """Return logits (B, T, V) and the last state for ids (B, T)."""
        feeds = dict(zip(self._names, state, strict=True))
        feeds["ids"] = ids
        logits, *last = self._session.run(self._outputs, feeds)
        return logits, tuple(last)


def cached_engine(
    path: Path, config: ModelConfig, threads: int | None, *, int8: bool
) -> OnnxEngine:
    """Open a model file through its graph in the cache, building the graph on first use."""
    precision = "int8" if int8 else "float32"
    name = f"graphs/{file_sha256(path)}-{precision}-{GRAPH_VERSION}.onnx"

    def build() -> bytes:
        from chargen.engine.graph import build_graph

        return build_graph(load_weights(path), config, int8=int8)

    return OnnxEngine(kept(name, build), threads)
