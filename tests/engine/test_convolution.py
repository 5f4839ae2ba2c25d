"""Convolutions and layers above a stride in ONNX: the numbers of torch, in any batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import pytest

from chargen.engine import Engine, State
from chargen.engine.graph import build_graph
from chargen.engine.onnx import OnnxEngine
from chargen.engine.torch import TorchEngine
from chargen.model.spec import CELLS, ModelConfig, parse_stack, weight_shapes
from tests.engine.test_engine import tensors_of

VOCAB = 11
STACKS = [
    "conv:3:6,gru:7",
    *(f"conv:4x2:6,{kind}:5" for kind in CELLS),
    "gru:5,conv:3x2:6,conv:2x2:5,lstm:4,conv:3:4",
]


def weights_of(stack: str) -> tuple[dict[str, np.ndarray], ModelConfig]:
    config = ModelConfig(VOCAB, parse_stack(stack), 5)
    rng = np.random.default_rng(0)
    weights = {
        name: (("gain" in name) + rng.normal(0, 0.3, shape)).astype(np.float32)
        for name, shape in weight_shapes(config).items()
    }
    return weights, config


def at_places(engine: Engine, read: Sequence[int]) -> State:
    """Return the state of rows that have read so many tokens each."""
    rng = np.random.default_rng(1)
    rows = [engine.run(rng.integers(VOCAB, size=(1, n)), engine.init_state(1))[1] for n in read]
    return tuple(np.concatenate(parts, axis=1) for parts in zip(*rows, strict=True))


@pytest.mark.parametrize("stack", STACKS)
def test_onnx_equals_torch_whatever_the_rows_have_read(stack: str) -> None:
    weights, config = weights_of(stack)
    reference = TorchEngine(weights, config)
    exact, coarse = (
        OnnxEngine(build_graph(weights, config, int8=int8), threads=1) for int8 in (False, True)
    )
    rng, state = np.random.default_rng(2), at_places(reference, (1, 2, 5))
    for steps in (1, 1, 1, 2, 7, 1, 12):
        ids = rng.integers(VOCAB, size=(3, steps))
        wanted, after = reference.run(ids, state)
        logits, last = exact.run(ids, state)
        np.testing.assert_allclose(logits, wanted, rtol=0, atol=1e-5)
        for part, expected in zip(last, after, strict=True):
            np.testing.assert_allclose(part, expected, rtol=0, atol=1e-5)
        near, rough = coarse.run(ids, state)
        assert np.std(near - wanted) < 0.1 * np.std(wanted)
        for part, expected in zip(rough, after, strict=True):
            np.testing.assert_allclose(part, expected, rtol=0.1, atol=0.15)
        state = after


def test_a_row_gives_the_same_alone_and_in_a_batch() -> None:
    weights, config = weights_of("conv:4x4:6,lstm:7")
    engine = OnnxEngine(build_graph(weights, config), threads=1)
    state, ids = at_places(engine, (1, 2, 3, 4)), np.arange(4 * 6).reshape(4, 6) % VOCAB
    together, _ = engine.run(ids, state)
    for row in range(4):
        own = tuple(part[:, row : row + 1] for part in state)
        alone, _ = engine.run(ids[row : row + 1], own)
        np.testing.assert_allclose(alone[0], together[row], rtol=0, atol=1e-6)


def test_an_int8_graph_has_no_float32_matrix() -> None:
    graph = onnx.load_from_string(build_graph(*weights_of("conv:4x2:6,gru:5"), int8=True)).graph
    matrices = [tensor for tensor in tensors_of(graph) if sum(n > 1 for n in tensor.dims) > 1]
    kinds = {tensor.data_type for tensor in matrices}
    assert onnx.TensorProto.FLOAT not in kinds and onnx.TensorProto.INT8 in kinds
