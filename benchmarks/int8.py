"""What int8 weights cost on this processor, in the engine and in an exported graph.

    python -m benchmarks.int8 MODEL TEXT [--tokens 2048]

MODEL and TEXT are a trained model and a text that it did not learn from, of which the last tokens
are read one by one, by ONNX Runtime alone (torch is not imported). The exported graph runs in a
session with default settings, as in another program. For the older kernels without VNNI run it
under an emulator:

    qemu-x86_64 -cpu Haswell-noTSX python -m benchmarks.int8 MODEL TEXT
"""

from __future__ import annotations

import argparse
import itertools
import math
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from chargen.engine import Engine, make_engine
from chargen.engine.export import to_onnx
from chargen.engine.graph import build_graph
from chargen.engine.onnx import OnnxEngine
from chargen.machine import processor_name
from chargen.model.saved import load_weights, read_model

Floats = NDArray[np.float64]


class Exported(OnnxEngine):
    """An exported graph as another program runs it."""

    def __init__(self, graph: bytes) -> None:
        super().__init__(graph, threads=1)
        self._sessions[1] = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])


def bits(engine: Engine, ids: NDArray[np.int64]) -> Floats:
    """Return -log2 P of each token but the first, (T,)."""
    state, costs = engine.init_state(1), []
    for token, target in itertools.pairwise(ids.tolist()):
        logits, state = engine.run(np.array([[token]]), state)
        row = logits[0, 0].astype(np.float64)
        costs.append(np.logaddexp.reduce(row) - row[target])
    return np.array(costs) / math.log(2)


def row(name: str, difference: Floats) -> str:
    """Return a line of the table: the mean, and half of its 95 % interval from 40 blocks."""
    means = [block.mean() for block in np.array_split(difference, 40)]
    margin = 1.96 * float(np.std(means, ddof=1)) / math.sqrt(len(means))
    return f"{name:16} {difference.mean():+.5f} ±{margin:.5f}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("text", type=Path)
    parser.add_argument("--tokens", type=int, default=2048)
    options = parser.parse_args()
    header, weights = read_model(options.model), load_weights(options.model)
    text = options.text.read_text(encoding="utf-8")[-8 * options.tokens :]
    ids = header.tokenizer.encode(text)[-options.tokens - 1 :].astype(np.int64)
    exact = bits(OnnxEngine(build_graph(weights, header.config), 1), ids)
    coarse = make_engine(weights, header.config, "cpu", 1, int8=True)
    print(f"{processor_name()}, {len(ids) - 1:,} tokens, bits per token more than float32")
    print(row("int8 engine", bits(coarse, ids) - exact))
    print(row("exported graph", bits(Exported(to_onnx(options.model, int8=True)), ids) - exact))


if __name__ == "__main__":
    main()
