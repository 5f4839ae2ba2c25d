"""The ONNX graph of a model, built from its weights without torch.

Input ``ids`` (B, T) and a state tensor (1, B, H) for each part of each layer; output
``logits`` (B, T, V) and the new state. B and T are free: T = 1 generates, a large T reads a
prompt. Inside, time comes first, as ONNX's recurrent operators want it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from chargen.checkpoint import Tensors
from chargen.config import LayerConfig, ModelConfig

OPSET, IR = 17, 8

Weight = NDArray[np.float32]


class Builder(NamedTuple):
    """How a cell is said in ONNX.

    Attributes:
        operator: ONNX's name of the cell.
        order: our blocks of H rows in the order in which ONNX wants them; a negative number
            is a block with its sign changed, counted from -1.
        states: the parts of the state, a letter each.
        attributes: settings of the operator.
    """

    operator: str
    order: tuple[int, ...]
    states: str
    attributes: dict[str, Any]


BUILDERS = {
    "rnn": Builder("RNN", (0,), "h", {}),
    "rnn-relu": Builder("RNN", (0,), "h", {"activations": ["Relu"]}),
    "lstm": Builder("LSTM", (0, 3, 1, 2), "hc", {}),  # i, f, g, o -> i, o, f, g
    "lstm-peephole": Builder("LSTM", (0, 3, 1, 2), "hc", {}),
    # f, g, o -> i, o, f, g, where ONNX couples f = 1 - i, and 1 - sigma(a) = sigma(-a).
    "lstm-coupled": Builder("LSTM", (-1, 2, 0, 1), "hc", {"input_forget": 1}),
    "gru": Builder("GRU", (1, 0, 2), "h", {"linear_before_reset": 1}),  # r, z, n -> z, r, n
    "gru-before": Builder("GRU", (1, 0, 2), "h", {"linear_before_reset": 0}),
}


def state_names(config: ModelConfig) -> list[str]:
    """Return the names of the state inputs, in order; an output's name ends in ``.next``."""
    parts = [BUILDERS[layer.kind].states for layer in config.layers]
    return [f"{part}{number}" for number, states in enumerate(parts) for part in states]


def state_widths(config: ModelConfig) -> list[int]:
    """Return the number of hidden units of each state input, in order."""
    return [config.layers[int(name[1:])].hidden for name in state_names(config)]


def build_graph(weights: Tensors, config: ModelConfig) -> bytes:
    """Return the serialized graph of a model."""
    graph = _Graph()
    graph.node("Transpose", ["ids"], "time_major_ids", perm=[1, 0])  # (T, B)
    x = graph.node("Gather", [graph.weight("embedding", weights["embedding.weight"]),
                              "time_major_ids"], "embedded")  # fmt: skip  # (T, B, E)
    outputs = []
    for number, layer in enumerate(config.layers):
        x = _add_layer(graph, layer, number, x, weights)  # (T, B, H)
        outputs.append(x)
    joined = graph.node("Concat", outputs, "joined", axis=2)  # (T, B, sum of H)
    head = graph.weight("head", weights["head.weight"].T)
    product = graph.node("MatMul", [joined, head], "head_product")
    graph.node("Add", [product, graph.weight("head_bias", weights["head.bias"])], "time_major")
    graph.node("Transpose", ["time_major"], "logits", perm=[1, 0, 2])  # (B, T, V)
    return graph.serialize(config)


class _Graph:
    """Nodes and weights as they are added."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def weight(self, name: str, array: NDArray[np.generic]) -> str:
        """Add a constant and return its name."""
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def node(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Add an operator with one output and return its name."""
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def serialize(self, config: ModelConfig) -> bytes:
        """Return the finished graph with its inputs and outputs."""
        states = list(zip(state_names(config), state_widths(config), strict=True))
        inputs = [helper.make_tensor_value_info("ids", TensorProto.INT64, ["B", "T"])]
        outputs = [
            helper.make_tensor_value_info(
                "logits", TensorProto.FLOAT, ["B", "T", config.vocab_size]
            )
        ]
        for name, width in states:
            shape: list[str | int | None] = [1, "B", width]
            inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
            outputs.append(helper.make_tensor_value_info(f"{name}.next", TensorProto.FLOAT, shape))
        graph = helper.make_graph(self.nodes, "chargen", inputs, outputs, self.weights)
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR)
        return bytes(model.SerializeToString())


def _add_layer(graph: _Graph, layer: LayerConfig, number: int, x: str, weights: Tensors) -> str:
    """Add one recurrent layer over x (T, B, I) and return its outputs (T, B, H)."""
    cell, own = BUILDERS[layer.kind], f"layers.{number}."
    w, r, b_w = (
        _blocks(weights[f"{own}{part}"], cell.order, layer.hidden)
        for part in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0")
    )
    b_r = weights.get(f"{own}bias_hh_l0", np.zeros_like(weights[f"{own}bias_ih_l0"]))
    b_r = _blocks(b_r, cell.order, layer.hidden)
    inputs = [
        x,
        graph.weight(f"W{number}", w[None]),  # (1, G*H, I)
        graph.weight(f"R{number}", r[None]),  # (1, G*H, H)
        graph.weight(f"B{number}", np.concatenate([b_w, b_r])[None]),  # (1, 2*G*H)
        "",  # all sequences have the same length
        *(f"{part}{number}" for part in cell.states),
    ]
    if f"{own}peephole" in weights:
        i, f, o = weights[f"{own}peephole"]
        inputs.append(graph.weight(f"P{number}", np.concatenate([i, o, f])[None]))  # (1, 3*H)
    outputs = [f"y{number}", *(f"{part}{number}.next" for part in cell.states)]
    attributes = {"hidden_size": layer.hidden, **cell.attributes}
    graph.nodes.append(helper.make_node(cell.operator, inputs, outputs, **attributes))
    axis = graph.weight(f"direction{number}", np.array([1]))
    return graph.node("Squeeze", [f"y{number}", axis], f"x{number + 1}")  # (T, 1, B, H) -> TBH


def _blocks(weight: Weight, order: tuple[int, ...], hidden: int) -> Weight:
    """Return a weight with its blocks of H rows in ONNX's order."""
    rows = weight.reshape(-1, hidden, *weight.shape[1:])  # (G, H, ...)
    return np.concatenate([rows[block] if block >= 0 else -rows[-1 - block] for block in order])
