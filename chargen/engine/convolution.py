"""Convolutions in ONNX nodes, and layers that step once every few tokens.

The equations are those of ``model.cells.conv``. Time comes first. Legend of shapes: B batch size, T
steps, I inputs, H outputs, K kernel, S period, M blocks, N width.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import TensorProto

from chargen.engine.nodes import Graph, Weight
from chargen.storage.checkpoint import Tensors

LONG, FLOAT = int(TensorProto.INT64), int(TensorProto.FLOAT)
END = np.iinfo(np.int64).max


def convolution(
    g: Graph, kernel: int, own: Tensors, x: str, states: list[str], last: list[str]
) -> str:
    """Add a causal convolution over x (T, B, I) and return its outputs (T, B, H).

    Args:
        g: the graph; where it has ``lengths``, only so many steps of a row count.
        kernel: K.
        own: weights of the layer.
        x: name of the inputs.
        states: names of the last output (1, B, H) and of the last K - 1 inputs (1, B, (K - 1) I).
        last: names for them after the last step.
    """
    hidden, window = own["weight_ih_l0"].shape
    inputs = window // kernel
    before = g("Reshape", states[1], _shape(g, 0, -1, kernel - 1, inputs))  # (1, B, K - 1, I)
    before = g("Transpose", g("Squeeze", before, _shape(g, 0)), perm=[1, 0, 2])
    seen = g("Concat", before, x, axis=0)  # (K - 1 + T, B, I)
    ends = [n - kernel + 1 or END for n in range(kernel)]
    slices = [g("Slice", seen, _shape(g, n), _shape(g, end)) for n, end in enumerate(ends)]
    windows = g("Concat", *slices, axis=2)  # (T, B, K*I)
    y = g("Relu", g.product(windows, own["weight_ih_l0"], own["bias_ih_l0"]))
    kept = np.arange(kernel - 1)[:, None]
    length = g("Cast", g.lengths, to=LONG) if g.lengths else _steps(g, x)
    places = g("Add", g.weight(kept), length)  # (K - 1, B), or (K - 1, 1) for all rows
    rows = g("Transpose", _picked(g, seen, inputs, places), perm=[1, 0, 2])  # (B, K - 1, I)
    rows = g("Reshape", rows, _shape(g, 1, -1, (kernel - 1) * inputs))
    g.nodes_of("Identity", [rows], [last[1]])
    newest = g("Sub", g("Unsqueeze", length, _shape(g, 0)), _shape(g, 1))
    g.nodes_of("Identity", [_picked(g, y, hidden, newest)], [last[0]])
    return y


def clocked(
    g: Graph,
    layer: Callable[[Graph, str, list[str]], str],
    period: int,
    widths: tuple[int, int],
    x: str,
    states: list[str],
    last: list[str],
) -> str:
    """Add a layer that steps once every S tokens over x (T, B, I); return its outputs (T, B, H).

    Where no row ends a block, the layer is left out.

    Args:
        g: the graph.
        layer: adds the layer to a graph over inputs (M, B, I), with these names for the states
            after it, and returns its outputs (M, B, H).
        period: S.
        widths: I and H.
        x: name of the inputs.
        states: names of its state, and of the place in the period, (1, B, 1).
        last: names for them after the last step.
    """
    *own, place = states
    read = _read(g, x, place)
    blocks = g("Div", read, _shape(g, period))  # (T, B), that have ended
    ended = g("Gather", blocks, _shape(g, -1))  # (1, B)
    ends = _ends(g, x, read, period)

    def stepped(body: Graph) -> list[str]:
        after = [body.name("after") for _ in own]
        lengths = body("Squeeze", body("Max", ended, _shape(body, 1)), _shape(body, 0))
        body.lengths = body("Cast", lengths, to=int(TensorProto.INT32))
        y = layer(body, _picked(body, x, widths[0], ends), after)  # (M, B, H)
        some = body("Unsqueeze", body("Greater", ended, _shape(body, 0)), _shape(body, 2))
        new = [body("Where", some, *pair) for pair in zip(after, own, strict=True)]
        return [body("Concat", own[0], y, axis=0), *new]

    def unchanged(body: Graph) -> list[str]:
        return [body("Identity", name) for name in (own[0], *own)]

    most = g("ReduceMax", ended, keepdims=0)
    outputs, *after = g.choose(g("Greater", most, _shape(g, 0)), stepped, unchanged)
    newest = g("Mod", g("Gather", read, _shape(g, -1)), _shape(g, period))  # (1, B)
    after.append(g("Unsqueeze", g("Cast", newest, to=FLOAT), _shape(g, 2)))
    for found, name in zip(after, last, strict=True):
        g.nodes_of("Identity", [found], [name])
    return _picked(g, outputs, widths[1], blocks)


def _ends(g: Graph, x: str, read: str, period: int) -> str:
    """Return the steps (M, B) of x at which blocks end; the last one for those that do not end."""
    steps = _steps(g, x)
    most = g("Div", g("Add", steps, _shape(g, period - 1)), _shape(g, period))
    numbers = g("Unsqueeze", g.count(1, most), _shape(g, 1))  # (M, 1)
    first = g("Gather", read, _shape(g, 0))  # (1, B), one more than before
    ends = g("Sub", g("Mul", numbers, _shape(g, period)), first)
    return g("Min", ends, g("Sub", steps, _shape(g, 1)))


def decoder(g: Graph, weight: Weight, biases: Weight, x: str, place: str) -> str:
    """Add the layer between the outputs x (T, B, N) of all others and the head, (T, B, H).

    Args:
        g: the graph.
        weight: (H, N).
        biases: one for each place in a period, (P, H).
        x: name of the outputs.
        place: name of the place before the first step, (1, B, 1).
    """
    places = g("Mod", _read(g, x, place), _shape(g, len(biases)))
    return g("Relu", g("Add", g.product(x, weight), g.rows(biases, places)))


def _read(g: Graph, x: str, place: str) -> str:
    """Return the tokens read since the block in part began, after each step of x, (T, B)."""
    begun = g("Squeeze", g("Cast", place, to=LONG), _shape(g, 0, 2))  # (B)
    return g("Add", g("Unsqueeze", g.count(1, _steps(g, x)), _shape(g, 1)), begun)


def _shape(g: Graph, *numbers: int) -> str:
    return g.weight(np.array(numbers, np.int64))


def _steps(g: Graph, x: str) -> str:
    """Return the number of steps of x (T, B, N), (1)."""
    return g("Shape", x, start=0, end=1)


def _picked(g: Graph, x: str, width: int, places: str) -> str:
    """Return the steps of x (T, B, N) at the places (M, B) of each row, (M, B, N)."""
    batch = g("Shape", x, start=1, end=2)
    rows = g("Add", g("Mul", places, batch), g.count(0, batch))
    return g("Gather", g("Reshape", x, _shape(g, -1, width)), rows)
