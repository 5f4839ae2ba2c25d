"""Bits that int8 weights cost on this processor, in the engine and in an exported graph.

    python -m benchmarks.int8 MODEL TEXT [--tokens 2048]

MODEL is a trained model and TEXT a text that it was not trained on. The last tokens of the text are
read one by one, by ONNX Runtime alone (torch is not imported). The exported graph runs in a session
with default settings, as in another program. For the older kernels without VNNI run it under an
emulator:

    qemu-x86_64 -cpu Haswell-noTSX python -m benchmarks.int8 MODEL TEXT
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import onnxruntime

from chargen.data.dataset import Segment
from chargen.engine import Engine, make_engine
from chargen.engine.export import to_onnx
from chargen.engine.graph import build_graph
from chargen.engine.onnx import OnnxEngine
from chargen.evaluation.nll import Floats
from chargen.evaluation.protocols import stateful
from chargen.machine import processor_name
from chargen.model.saved import read_model


class Exported(OnnxEngine):
    """An exported graph as another program runs it."""

    def __init__(self, graph: bytes) -> None:
        super().__init__(graph, threads=1)
        self._sessions[1] = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])


def bits(engine: Engine, segment: Segment) -> Floats:
    """Return -log2 P of each token, (N,), read one at a time."""
    return stateful(engine, segment, most=1).nll / math.log(2)


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
    saved = read_model(options.model)
    text, weights = options.text.read_text(encoding="utf-8"), saved.weights()
    ids = saved.tokenizer.encode(text[-8 * options.tokens :])[-options.tokens - 1 :]
    segment = Segment(saved.tokenizer, ids[1:], ids[:1], characters=0)
    exact = bits(OnnxEngine(build_graph(weights, saved.config), 1), segment)
    coarse = bits(make_engine(weights, saved.config, "cpu", 1, int8=True), segment)
    exported = bits(Exported(to_onnx(saved, int8=True)), segment)
    print(f"{processor_name()}, {len(segment):,} tokens, bits per token more than float32")
    print(row("int8 engine", coarse - exact))
    print(row("exported graph", exported - exact))


if __name__ == "__main__":
    main()
