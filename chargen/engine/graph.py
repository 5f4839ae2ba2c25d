"""ONNX graph of a model, built from its weights without torch.

The inputs are ``ids`` (B, T) and a state (1, B, H) for each part of each layer. The outputs are
``logits`` (B, T, V) and the new state. B and T are dynamic: T = 1 to generate, a large T to read a
prompt. Inside, time comes first, as the recurrent operators of ONNX require.

A layer is an operator of ONNX if there is one (for int8, an operator of ONNX Runtime). Otherwise it
is a loop over its step (``engine/steps.py``).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from chargen.engine.convolution import clocked, convolution, decoder
from chargen.engine.nodes import CONTRIB, Graph
from chargen.engine.steps import LAYERS
from chargen.model.ngrams import NGramConfig
from chargen.model.spec import CONVOLUTION, LayerConfig, ModelConfig, OnnxOperator, state_widths
from chargen.storage.checkpoint import Tensors

LABEL = "label"  # the state's name for the weights of the labels, where there are labels
HISTORY = "codes"  # the state's name for the codes of the last tokens, where there are n-grams


def build_graph(
    weights: Tensors, config: ModelConfig, *, int8: bool = False, unsigned: bool = False
) -> bytes:
    """Return the serialized graph of a model, with weight matrices in float32 or int8.

    Args:
        weights: weights by their names in the model file.
        config: the architecture.
        int8: quantize the weight matrices to 8 bits.
        unsigned: store these as uint8, which saturates on no processor (``Graph.quantized``).
    """
    g = Graph(int8=int8, unsigned=unsigned)
    x = g.rows(weights["embedding.weight"], g("Transpose", "ids", perm=[1, 0]))  # (T, B, E)
    if config.ngrams:
        x = g("Add", x, _ngrams(g, config.ngrams, weights["ngrams.table.weight"]))
    if config.labels:
        vectors = g.weight(weights["labels.weight"])  # (L, E)
        x = g("Add", x, g("MatMul", LABEL, vectors))  # (1, B, E)
        g.nodes_of("Identity", [LABEL], [f"{LABEL}.next"])
    outputs = []
    for number in range(len(config.layers)):
        prefix = f"layers.{number}."
        own = {n.removeprefix(prefix): w for n, w in weights.items() if n.startswith(prefix)}
        x = _layer(g, config, number, own, x)  # (T, B, H)
        outputs.append(x)
    joined = g("Concat", *outputs, axis=2)  # (T, B, sum of H)
    if config.periods[-1] > 1:
        of = weights["decoder.weight"], weights["decoder.bias"]
        joined = decoder(g, *of, joined, f"p{len(outputs) - 1}")  # (T, B, H)
    logits = g.product(joined, weights["head.weight"], weights["head.bias"])
    g.nodes_of("Transpose", [logits], ["logits"], perm=[1, 0, 2])  # (B, T, V)
    return g.serialize(*_ends(config))


def _ngrams(g: Graph, config: NGramConfig, table: NDArray[np.float32]) -> str:
    """Add the rows of the n-grams that end with each token (``model.ngrams``), (T, B, E)."""
    long, last = int(TensorProto.INT64), [HISTORY, f"{HISTORY}.next"]
    before = g("Squeeze", g("Cast", last[0], to=long), g.weight(np.array([0])))  # (B, K)
    codes = g("Gather", g.weight(np.array(config.codes, np.int64)), "ids")  # (B, T)
    codes = g("Concat", before, codes, axis=1)  # (B, K + T)
    steps = g("Squeeze", g("Shape", "ids", start=1), g.weight(np.array([0])))
    zero, one = (g.weight(np.array(n)) for n in (0, 1))
    starts = g("Unsqueeze", g("Range", zero, steps, one), g.weight(np.array([1])))
    places = g("Add", starts, g.weight(np.arange(config.history + 1)))  # (T, K + 1)
    windows = g("Gather", codes, places, axis=1)  # (B, T, K + 1)
    sums = g("MatMul", windows, g.weight(np.array(config.factors())))  # (B, T, K)
    rows = g("Mod", sums, g.weight(np.array(config.rows)))
    rows = g("Add", rows, g.weight(np.array(config.offsets())))
    places = g("Transpose", rows, perm=[1, 0, 2])
    values = g("Gather", g.weight(table.astype(np.float16)), places)  # (T, B, K, E)
    values = g("Cast", values, to=int(TensorProto.FLOAT))
    ends = [g.weight(np.array([n])) for n in (-config.history, np.iinfo(np.int64).max, 1)]
    kept = g("Cast", g("Slice", codes, *ends), to=int(TensorProto.FLOAT))
    g.nodes_of("Unsqueeze", [kept, g.weight(np.array([0]))], [last[1]])  # (1, B, K)
    return g("ReduceSum", values, g.weight(np.array([2])), keepdims=0)


def _layer(g: Graph, config: ModelConfig, number: int, own: Tensors, x: str) -> str:
    """Add one layer over x (T, B, I) and return its outputs (T, B, H)."""
    layer, period = config.layers[number], config.periods[number]
    states = [f"{part}{number}" for part in state_widths(config)[number]]
    last = [f"{state}.next" for state in states]
    if period == 1:
        return _untimed(g, layer, own, x, states, last)

    def within(g: Graph, x: str, last: list[str]) -> str:
        return _untimed(g, layer, own, x, states[:-1], last)

    widths = config.inputs[number], layer.hidden
    return clocked(g, within, period, widths, x, states, last)


def _untimed(
    g: Graph, layer: LayerConfig, own: Tensors, x: str, states: list[str], last: list[str]
) -> str:
    """Add one layer that steps at each input x (T, B, I) and return its outputs (T, B, H)."""
    if layer.kind == CONVOLUTION:
        return convolution(g, layer.kernel, own, x, states, last)
    operator = layer.spec.operator
    if operator and (operator.name == "LSTM" or not g.int8):  # in int8 there is only an LSTM
        return _native(g, operator, layer.hidden, own, x, states, last)
    return LAYERS[layer.kind](g, own, x, states, last)


def _ends(config: ModelConfig) -> tuple[list[Any], list[Any]]:
    """Return the inputs and the outputs of the graph."""
    value = helper.make_tensor_value_info
    inputs = [value("ids", TensorProto.INT64, ["B", "T"])]
    outputs = [value("logits", TensorProto.FLOAT, ["B", "T", config.vocab_size])]
    widths = {
        f"{part}{number}": width
        for number, layer in enumerate(state_widths(config))
        for part, width in layer.items()
    }
    widths |= {LABEL: len(config.labels)} if config.labels else {}
    widths |= {HISTORY: config.ngrams.history} if config.ngrams else {}
    for name, width in widths.items():
        inputs.append(value(name, TensorProto.FLOAT, [1, "B", width]))
        outputs.append(value(f"{name}.next", TensorProto.FLOAT, [1, "B", width]))
    return inputs, outputs


def _native(
    g: Graph,
    cell: OnnxOperator,
    hidden: int,
    own: Tensors,
    x: str,
    states: list[str],
    last: list[str],
) -> str:
    """Add an operator of ONNX as a layer over x (T, B, I) and return its outputs (T, B, H)."""
    zeros = np.zeros_like(own["bias_ih_l0"])
    weights = (own["weight_ih_l0"], own["weight_hh_l0"])  # (G*H, I), (G*H, H)
    biases = (own["bias_ih_l0"], own.get("bias_hh_l0", zeros))
    (w, *w_scale), (r, *r_scale) = (
        _matrix(g, _blocks(weight, cell.order, hidden)) for weight in weights
    )
    bias = np.concatenate([_blocks(bias, cell.order, hidden) for bias in biases])
    inputs = [x, w, r, g.weight(bias[None]), g.lengths, *states]
    if cell.name == "LSTM":
        inputs += [_peephole(g, own), *w_scale, *r_scale]
    attributes = {"hidden_size": hidden, **cell.attributes}
    operator, domain = ("DynamicQuantizeLSTM", CONTRIB) if g.int8 else (cell.name, "")
    outputs = [g.name("y"), *last]
    (y, *_) = g.nodes_of(operator, inputs, outputs, domain=domain, **attributes)
    return g("Squeeze", y, g.weight(np.array([1])))  # (T, 1, B, H) -> (T, B, H)


def _matrix(g: Graph, weight: NDArray[np.float32]) -> list[str]:
    """Add a matrix in the layout of its operator; in int8 also its scales and zero points."""
    if not g.int8:
        return [g.weight(weight[None])]  # (1, G*H, I)
    values, scale, zeros = g.quantized(weight)
    return [g.weight(values.T[None]), g.weight(scale[None]), g.weight(zeros[None])]  # (1, I, G*H)


def _peephole(g: Graph, own: Tensors) -> str:
    if "peephole" not in own:
        return ""
    i, f, o = own["peephole"]
    return g.weight(np.concatenate([i, o, f])[None])  # (1, 3*H)


def _blocks(
    weight: NDArray[np.float32], order: tuple[int, ...], hidden: int
) -> NDArray[np.float32]:
    """Return a weight with its blocks of H rows in ONNX's order."""
    rows = weight.reshape(-1, hidden, *weight.shape[1:])  # (G, H, ...)
    return np.concatenate([rows[block] if block >= 0 else -rows[-1 - block] for block in order])
