from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

from chargen.engine import make_engine, open_engine
from chargen.engine.graph import build_graph
from chargen.engine.onnx import OnnxEngine, saturates
from chargen.errors import CheckpointError, ConfigError, DeviceError
from chargen.machine import count_cores
from chargen.machine.torch import find_device
from chargen.model.saved import SavedModel, read_model, save_model
from chargen.model.spec import CELLS, ModelConfig, parse_stack, weight_shapes
from chargen.tokenizers import build_tokenizer

STACKS = [*(f"{kind}:12" for kind in CELLS), "gru:12,lstm:7,rnn:9", "lstm-norm:7,minlstm:9"]
TOKENIZER = build_tokenizer("char", "abcdefghij\n", 0)
PATH = Path("model.safetensors")


def weights_of(
    stack: str,
) -> tuple[ModelConfig, dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]]:
    config = ModelConfig(TOKENIZER.vocab_size, parse_stack(stack), 6)
    rng = np.random.default_rng(0)
    # Rectified units have no bound: larger weights would let them explode.
    scale = 0.4 if "relu" in stack else 1.0
    weights = {
        name: scale * (("gain" in name) + rng.normal(0, 0.35, shape))  # gains are about 1
        for name, shape in weight_shapes(config).items()
    }
    return config, {name: weight.astype(np.float32) for name, weight in weights.items()}


def saved(stack: str = "lstm:12") -> SavedModel:
    config, weights = weights_of(stack)
    save_model(PATH, weights, config, TOKENIZER, {})
    return read_model(PATH)


@pytest.mark.parametrize("stack", STACKS)
def test_both_engines_agree_over_1000_steps_from_any_state(stack: str) -> None:
    from chargen.engine.torch import TorchEngine

    config, weights = weights_of(stack)
    engines = [make_engine(weights, config, "cpu"), TorchEngine(weights, config)]
    rng = np.random.default_rng(1)
    room = engines[0].init_state(2)
    start = tuple(rng.normal(0, 0.5, part.shape).astype(np.float32) for part in room)
    states = [start, start]
    ids = rng.integers(config.vocab_size, size=(1000, 2, 1))
    for step in ids:
        results = [e.run(step, s) for e, s in zip(engines, states, strict=True)]
        (ours, theirs), states = [r[0] for r in results], [r[1] for r in results]
        assert ours.shape == (2, 1, config.vocab_size)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)
    for part, reference in zip(*states, strict=True):
        np.testing.assert_allclose(part, reference, rtol=0, atol=1e-4)
    ours, theirs = (engine.run(ids[:40, :, 0].T, start)[0] for engine in engines)  # (2, 40, V)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("stack", STACKS)
def test_a_long_chunk_equals_single_steps_from_any_state(stack: str) -> None:
    config, weights = weights_of(stack)
    engine = make_engine(weights, config, "cpu")
    rng = np.random.default_rng(2)
    start = tuple(
        rng.normal(0, 0.5, part.shape).astype(np.float32) for part in engine.init_state(3)
    )
    ids = rng.integers(config.vocab_size, size=(3, 40))
    whole, last = engine.run(ids, start)
    assert whole.shape == (3, 40, config.vocab_size)
    state = start
    for step in range(40):
        logits, state = engine.run(ids[:, step : step + 1], state)
        np.testing.assert_allclose(logits[:, 0], whole[:, step], rtol=0, atol=1e-5)
    for part, expected in zip(state, last, strict=True):
        np.testing.assert_allclose(part, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("stack", STACKS)
def test_int8_stays_close_to_float32_from_any_state(stack: str) -> None:
    config, weights = weights_of(stack)
    exact = make_engine(weights, config, "cpu")
    coarse = OnnxEngine(build_graph(weights, config, int8=True), threads=1)
    rng = np.random.default_rng(2)
    room = exact.init_state(2)
    state = tuple(rng.normal(0, 0.5, part.shape).astype(np.float32) for part in room)
    errors, logits = [], []
    for step in rng.integers(config.vocab_size, size=(50, 2, 3)):
        ours, last = coarse.run(step, state)
        expected, state = exact.run(step, state)
        for part, reference in zip(last, state, strict=True):
            np.testing.assert_allclose(part, reference, rtol=0.1, atol=0.15)
        errors.append(ours - expected)
        logits.append(expected)
    assert 0 < np.std(errors) < 0.05 * np.std(logits)


@pytest.mark.parametrize("stack", STACKS)
def test_an_int8_graph_has_no_float32_matrix(stack: str) -> None:
    config, weights = weights_of(stack)
    model = onnx.load_from_string(build_graph(weights, config, int8=True))
    kept = list(tensors_of(model.graph))
    matrices = [tensor for tensor in kept if sum(size > 1 for size in tensor.dims) > 1]
    assert {tensor.data_type for tensor in matrices} == {onnx.TensorProto.INT8}
    whole = [np.prod(array.shape) for array in weights.values() if array.ndim == 2]
    own = 3 * 12 if "peephole" in stack else 0  # one weight for each unit and gate: three vectors
    extra = sum(np.prod(t.dims) for t in matrices) - (sum(whole) - own)
    assert extra == (12 * (6 + 12) if "coupled" in stack else 0)  # ONNX wants the input gate too


def tensors_of(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Every constant of a graph and of the loops in it."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            if attribute.HasField("g"):
                yield from tensors_of(attribute.g)


def test_int8_needs_a_cpu() -> None:
    with pytest.raises(ConfigError, match="device is 'cuda'; allowed: cpu, where int8 runs"):
        open_engine(saved(), "cuda", 1, int8=True)


def graphs() -> list[Path]:
    return sorted(Path(os.environ["CHARGEN_CACHE"]).rglob("*.onnx"))


def logits_of(model: SavedModel, *, int8: bool = False) -> list[float]:
    engine = open_engine(model, "auto", 1, int8=int8)
    assert isinstance(engine, OnnxEngine)
    logits, _ = engine.run(np.array([[1, 2, 3]]), engine.init_state(1))
    return [float(value) for value in logits[0, -1]]


def test_the_graph_is_built_once_and_rebuilt_when_damaged() -> None:
    model = saved()
    first = logits_of(model)
    (graph,) = graphs()
    built = graph.stat().st_ino
    assert logits_of(model) == first
    assert graph.stat().st_ino == built
    graph.write_bytes(b"damaged")
    assert logits_of(model) == first
    assert graph.stat().st_size > 1000
    whole = graph.read_bytes()
    flipped = bytes([*whole[:1500], whole[1500] ^ 64, *whole[1501:]])  # in a weight
    for damaged in (b"", whole[:2000], whole.replace(b"LSTM", b"LOST"), flipped):
        graph.write_bytes(damaged)
        assert logits_of(model) == first


def test_another_model_has_another_graph() -> None:
    logits_of(saved())
    model = saved("gru:12")
    exact = logits_of(model)
    assert len(graphs()) == 2
    assert logits_of(model, int8=True) != exact
    assert len(graphs()) == 3


def test_without_a_cache_the_graph_is_built_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("file").touch()
    monkeypatch.setenv("CHARGEN_CACHE", "file/cache")
    model = saved()
    assert logits_of(model) == logits_of(model)


def test_a_damaged_model_makes_no_graph() -> None:
    model = saved()
    data = bytearray(PATH.read_bytes())
    data[-5] ^= 1
    PATH.write_bytes(data)
    with pytest.raises(CheckpointError, match="is damaged: its checksum does not match"):
        logits_of(read_model(PATH) or model)
    assert graphs() == []


def test_a_device_that_is_not_there_is_named() -> None:
    assert find_device("cpu").type == "cpu"
    assert find_device("auto").type in ("cpu", "cuda", "mps")
    with pytest.raises(DeviceError, match=r"device is 'tpu'; available: .*cpu"):
        find_device("tpu")
    assert count_cores() >= 1


@pytest.mark.parametrize("stack", ["lstm:40,lstm:24", "gru:40", "lstm-norm:24,rnn:9"])
def test_unsigned_weights_give_the_same_results_to_the_bit(stack: str) -> None:
    config, weights = weights_of(stack)
    signed, unsigned = (
        OnnxEngine(build_graph(weights, config, int8=True, unsigned=unsigned), threads=1)
        for unsigned in (False, True)
    )
    ids = np.arange(24)[None] % config.vocab_size
    expected, given = (engine.run(ids, engine.init_state(1)) for engine in (signed, unsigned))
    if saturates():
        assert not np.array_equal(expected[0], given[0])
    else:
        assert np.array_equal(expected[0], given[0])


def test_where_signed_products_saturate_the_engine_takes_unsigned_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config, weights = weights_of("lstm:40")
    taken = []

    def building(*_: object, unsigned: bool, **__: object) -> bytes:
        taken.append(unsigned)
        return build_graph(weights, config, int8=True, unsigned=unsigned)

    monkeypatch.setattr("chargen.engine.graph.build_graph", building)
    for wrong in (False, True):
        monkeypatch.setattr("chargen.engine.onnx.saturates", lambda wrong=wrong: wrong)
        make_engine(weights, config, "cpu", 1, int8=True)
    assert taken == [False, True]


def test_the_torch_engine_speaks_float32_in_autocast_too() -> None:
    import torch

    from chargen.engine.torch import TorchEngine
    from chargen.machine.torch import can_run

    if not can_run("bfloat16", torch.device("cpu")):
        pytest.skip("bfloat16 does not run here")
    config, weights = weights_of("lstm:12")
    engine = TorchEngine(weights, config)
    with torch.autocast("cpu", torch.bfloat16):  # as while a run on a GPU is measured
        logits, state = engine.run(np.zeros((2, 3), np.int64), engine.init_state(2))
    assert {part.dtype for part in (logits, *state)} == {np.dtype(np.float32)}
