"""Builder of ONNX graphs: nodes, weights, products in float32 or int8, loops."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET, IR = 17, 8
CONTRIB = "com.microsoft"  # ONNX Runtime's own operators, for int8

Weight = NDArray[np.float32]
Step = Callable[..., "list[str]"]
"""Takes a graph, the old state and the inputs of one step; returns the new state."""


class Graph:
    """Nodes and weights of a graph; every result has a unique name.

    Args:
        int8: store weight matrices as int8 with a float32 scale for each row, and quantize the
            other factor of each product at run time, with one scale for the whole batch and all
            steps of a call.
        unsigned: store them as uint8, shifted by 128, for bit-identical results on every
            processor (``quantized``).
        outer: the graph that contains this one, if this is the body of a loop; it holds the
            weights.

    Attributes:
        lengths: name of the number of steps (B) that count in each row, int32 and at least 1, for
            the layers that are added; empty where all count.
    """

    def __init__(
        self, *, int8: bool = False, unsigned: bool = False, outer: Graph | None = None
    ) -> None:
        self.int8, self.unsigned, self.lengths = int8, unsigned, ""
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = outer.weights if outer else []
        self._numbers: itertools.count[int] = outer._numbers if outer else itertools.count()

    def name(self, stem: str) -> str:
        """Return a new name."""
        return f"{stem}_{next(self._numbers)}"

    def weight(self, array: NDArray[Any]) -> str:
        """Add a constant and return its name."""
        name = self.name("weight")
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def nodes_of(
        self, operator: str, inputs: Sequence[str], outputs: list[str], **attributes: Any
    ) -> list[str]:
        """Add an operator and return the names of its outputs."""
        self.nodes.append(helper.make_node(operator, inputs, outputs, **attributes))
        return outputs

    def __call__(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add an operator with one output and return its name."""
        return self.nodes_of(operator, inputs, [self.name(operator)], **attributes)[0]

    def split(self, x: str, parts: int) -> list[str]:
        """Split the last axis into equal parts."""
        return self.nodes_of("Split", [x], [self.name("part") for _ in range(parts)], axis=-1)

    def product(self, x: str, weight: Weight, bias: Weight | None = None) -> str:
        """Return x @ weight.T + bias for a weight (N, K) and x (..., K)."""
        if self.int8:
            values, scale, zeros = self.quantized(weight)
            inputs = [x, self.weight(values.T), self.weight(scale), self.weight(zeros)]
            inputs += [] if bias is None else [self.weight(bias)]
            return self("DynamicQuantizeMatMul", *inputs, domain=CONTRIB)
        product = self("MatMul", x, self.weight(weight.T))
        return product if bias is None else self("Add", product, self.weight(bias))

    def quantized(self, weight: Weight) -> tuple[NDArray[Any], Weight, NDArray[Any]]:
        """Return the values (N, K) of a weight, with the scale and the zero point (N) of each row.

        Processors without VNNI multiply unsigned inputs and signed weights in pairs and add the two
        products in 16 bits, where 2 * 255 * 127 does not fit: the sum saturates, and the loss rises
        by 0.01 bits per character. Unsigned weights use other instructions, which add in 32 bits.
        """
        values, scale = quantize(weight)
        if not self.unsigned:
            return values, scale, np.zeros(len(scale), np.int8)
        shifted = (values.astype(np.int16) + 128).astype(np.uint8)
        return shifted, scale, np.full(len(scale), 128, np.uint8)

    def rows(self, table: Weight, ids: str) -> str:
        """Return the rows of a table (V, E) for ids (...), (..., E)."""
        if not self.int8:
            return self("Gather", self.weight(table), ids)
        values, scale = quantize(table)
        row = self("Cast", self("Gather", self.weight(values), ids), to=TensorProto.FLOAT)
        return self("Mul", row, self("Gather", self.weight(scale[:, None]), ids))

    def layer_norm(self, x: str, gain: Weight, bias: Weight, epsilon: float = 1e-5) -> str:
        """Apply layer normalization over the last axis of x."""
        weights = [self.weight(gain), self.weight(bias)]
        return self("LayerNormalization", x, *weights, epsilon=epsilon)

    def scan(self, step: Step, states: list[str], last: list[str], inputs: str) -> str:
        """Loop a step over all inputs (T, B, N) and return the first state of each, (T, B, H).

        Args:
            step: adds the nodes of one step.
            states: names of the states before the first step, (1, B, H) each.
            last: names for the states after the last step.
            inputs: name of the inputs, time first.
        """
        body = Graph(int8=self.int8, unsigned=self.unsigned, outer=self)
        before = [self.name("before") for _ in states]
        scanned = [inputs, *([self._counting(inputs)] if self.lengths else [])]
        x = [self.name("input") for _ in scanned]
        after = step(body, *before, x[0])
        if self.lengths:
            counts = body("Cast", x[1], to=TensorProto.BOOL)
            after = [body("Where", counts, *two) for two in zip(after, before, strict=True)]
        y = body("Identity", after[0])
        graph = helper.make_graph(body.nodes, "step", _floats(*before, *x), _floats(*after, y))
        axis = self.weight(np.array([0]))  # the axis before B
        starts = [self("Squeeze", state, axis) for state in states]  # (B, H) each
        outputs = [self.name("last") for _ in states] + [self.name("all")]
        self.nodes_of("Scan", [*starts, *scanned], outputs, body=graph, num_scan_inputs=len(x))
        for end, name in zip(outputs, last, strict=False):
            self.nodes_of("Unsqueeze", [end, axis], [name])
        return outputs[-1]

    def choose(self, condition: str, *branches: Callable[[Graph], list[str]]) -> list[str]:
        """Return what the first branch gives where a condition holds, otherwise the second's.

        Args:
            condition: name of the condition.
            branches: each adds its nodes to a graph, and returns the names of as many results.
        """
        graphs = []
        for branch in branches:
            body = Graph(int8=self.int8, unsigned=self.unsigned, outer=self)
            results = branch(body)
            graphs.append(helper.make_graph(body.nodes, "branch", [], _floats(*results)))
        names = [self.name("chosen") for _ in results]
        then, other = graphs
        return self.nodes_of("If", [condition], names, then_branch=then, else_branch=other)

    def count(self, begin: int, number: str) -> str:
        """Return whole numbers from the first one on (N), for the name of N (1)."""
        first, one = (self.weight(np.array(n, np.int64)) for n in (begin, 1))
        end = self("Add", self("Squeeze", number, self.weight(np.array([0]))), first)
        return self("Range", first, end, one)

    def _counting(self, inputs: str) -> str:
        """Return 1 for the steps of each row of the inputs that count, otherwise 0, (T, B, 1)."""
        steps = self.count(0, self("Shape", inputs, start=0, end=1))
        lengths = self("Cast", self.lengths, to=TensorProto.INT64)
        counts = self("Less", self("Unsqueeze", steps, self.weight(np.array([1]))), lengths)
        floats = self("Cast", counts, to=TensorProto.FLOAT)
        return self("Unsqueeze", floats, self.weight(np.array([2])))

    def serialize(
        self, inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto]
    ) -> bytes:
        """Return the finished graph."""
        graph = helper.make_graph(self.nodes, "chargen", inputs, outputs, self.weights)
        opsets = [helper.make_opsetid("", OPSET)]
        opsets += [helper.make_opsetid(CONTRIB, 1)] if self.int8 else []
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR)
        return bytes(model.SerializeToString())


def quantize(weight: Weight) -> tuple[NDArray[np.int8], Weight]:
    """Return a weight (N, K) as int8 and the scale of each of its rows (N)."""
    scale = np.abs(weight).max(axis=1) / 127
    scale[scale == 0] = 1
    return np.round(weight / scale[:, None]).astype(np.int8), scale.astype(np.float32)


def _floats(*names: str) -> list[onnx.ValueInfoProto]:
    return [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names]
