"""ONNX engine: ONNX Runtime on a CPU, without torch."""

from __future__ import annotations

import functools
import time

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from chargen.engine import Logits, State
from chargen.machine import count_cores, thread_options
from chargen.machine.pace import Pace
from chargen.model.saved import SavedModel
from chargen.storage.cache import cached_bytes

GRAPH_VERSION = 7  # of the graphs in the cache; raise it whenever engine/graph.py changes them

SPIN_MICROSECONDS = 200  # for which the threads of ONNX Runtime spin before they sleep


class OnnxEngine:
    """Runs a graph made by ``engine.graph.build_graph``.

    Batches of about one size run with their fastest number of threads, found by timing the calls
    (``machine.pace``). The number of threads of an ONNX Runtime session is fixed, so there is one
    session for each number in use. All of them give bit-identical results.
    """

    def __init__(self, graph: bytes, threads: int | None = None) -> None:
        """Open a graph.

        Args:
            graph: serialized graph from ``build_graph``.
            threads: CPU threads; None finds the fastest number, up to all cores.
        """
        self._graph = graph
        self._options = (threads,) if threads else thread_options(count_cores())
        self._sessions: dict[int, onnxruntime.InferenceSession] = {}
        self._paces: dict[tuple[int, bool], Pace] = {}
        session = self._session(self._options[0])
        _, *states = session.get_inputs()
        self._names = [state.name for state in states]
        self._widths = [state.shape[2] for state in states]
        self._outputs = [output.name for output in session.get_outputs()]

    def _session(self, threads: int) -> onnxruntime.InferenceSession:
        """Return the session with this number of threads, created on first use."""
        if threads not in self._sessions:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = threads
            options.inter_op_num_threads = 1
            options.log_severity_level = 4
            spin = str(SPIN_MICROSECONDS)
            options.add_session_config_entry("session.intra_op.spin_duration_us", spin)
            self._sessions[threads] = onnxruntime.InferenceSession(
                self._graph, options, providers=["CPUExecutionProvider"]
            )
        return self._sessions[threads]

    def init_state(self, batch: int) -> State:
        """Return zeros, (1, B, H) for each part of the state."""
        return tuple(np.zeros((1, batch, width), np.float32) for width in self._widths)

    def run(self, ids: NDArray[np.int64], state: State) -> tuple[Logits, State]:
        """Return logits (B, T, V) and the last state for ids (B, T)."""
        feeds = dict(zip(self._names, state, strict=True))
        feeds["ids"] = ids
        batch, steps = ids.shape
        size = batch.bit_length(), steps > 1  # a doubling; single steps have their own
        pace = self._paces.get(size) or self._paces.setdefault(size, Pace(self._options))
        session = self._session(pace.threads)
        began = time.perf_counter()
        logits, *last = session.run(self._outputs, feeds)
        pace.took(time.perf_counter() - began, steps * batch)
        return logits, tuple(last)


@functools.cache
def saturates() -> bool:
    """Tell whether products with int8 weights saturate on this processor, by one small product.

    The flags of the processor are not enough: under an emulator they may be those of the host.
    """
    from onnx import TensorProto, helper

    from chargen.engine.nodes import Graph

    graph, ones = Graph(int8=True), np.ones((4, 64), np.float32)
    product = graph.product("x", ones)
    graph.nodes_of("Identity", [product], ["y"])
    ends = (helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("x", "y"))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        graph.serialize(*([end] for end in ends)), options, providers=["CPUExecutionProvider"]
    )
    (found,) = session.run(["y"], {"x": ones[:1]})
    return bool(np.abs(found / ones.shape[1] - 1).max() > 0.01)


def cached_engine(saved: SavedModel, threads: int | None, *, int8: bool) -> OnnxEngine:
    """Open a model file with its graph from the cache; the graph is built on first use."""
    unsigned = int8 and saturates()
    precision = "uint8" if unsigned else "int8" if int8 else "float32"
    name = f"graphs/{saved.sha256}-{precision}-{GRAPH_VERSION}.onnx"

    def build() -> bytes:
        from chargen.engine.graph import build_graph

        return build_graph(saved.weights(), saved.config, int8=int8, unsigned=unsigned)

    return OnnxEngine(cached_bytes(name, build), threads)
