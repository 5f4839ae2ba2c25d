"""Cells as loops over their step, for cells without an operator in ONNX.

Each function adds one layer over x (T, B, I) and returns its outputs (T, B, H). The equations are
those of ``model.cells``. Whatever does not depend on the state is computed for all steps before
the loop.
"""

from __future__ import annotations

from collections.abc import Callable

from chargen.engine.nodes import Graph
from chargen.storage.checkpoint import Tensors

Layer = Callable[[Graph, Tensors, str, list[str], list[str]], str]
"""Takes a graph, the weights of the layer, x, and the names of the states before and after."""


def rnn(activation: str) -> Layer:
    """Return the simple recurrent layer with this activation."""

    def layer(g: Graph, own: Tensors, x: str, states: list[str], last: list[str]) -> str:
        def step(g: Graph, h: str, u: str) -> list[str]:
            v = g.product(h, own["weight_hh_l0"], own["bias_hh_l0"])
            return [g(activation, g("Add", u, v))]

        return g.scan(step, states, last, g.product(x, own["weight_ih_l0"], own["bias_ih_l0"]))

    return layer


def lstm_norm(g: Graph, own: Tensors, x: str, states: list[str], last: list[str]) -> str:
    """Add an LSTM with layer normalization."""

    def step(g: Graph, h: str, c: str, u: str) -> list[str]:
        v = g.product(h, own["weight_hh_l0"])
        a = g("Add", u, g.layer_norm(v, own["gain_hh_l0"], own["bias_hh_l0"]))
        i, f, n, o = g.split(a, 4)
        retained = g("Mul", g("Sigmoid", f), c)
        c = g("Add", retained, g("Mul", g("Sigmoid", i), g("Tanh", n)))
        normed = g.layer_norm(c, own["gain_c"], own["bias_c"])
        return [g("Mul", g("Sigmoid", o), g("Tanh", normed)), c]

    u = g.product(x, own["weight_ih_l0"])
    return g.scan(step, states, last, g.layer_norm(u, own["gain_ih_l0"], own["bias_ih_l0"]))


def gru(g: Graph, own: Tensors, x: str, states: list[str], last: list[str]) -> str:
    """Add a GRU with the reset gate after the recurrent product."""

    def step(g: Graph, h: str, u: str) -> list[str]:
        v = g.product(h, own["weight_hh_l0"], own["bias_hh_l0"])
        (ur, uz, un), (vr, vz, vn) = g.split(u, 3), g.split(v, 3)
        r, z = g("Sigmoid", g("Add", ur, vr)), g("Sigmoid", g("Add", uz, vz))
        n = g("Tanh", g("Add", un, g("Mul", r, vn)))
        return [_interpolate(g, n, h, z)]

    return g.scan(step, states, last, g.product(x, own["weight_ih_l0"], own["bias_ih_l0"]))


def gru_before(g: Graph, own: Tensors, x: str, states: list[str], last: list[str]) -> str:
    """Add a GRU with the reset gate before the recurrent product."""
    two = len(own["bias_ih_l0"]) // 3 * 2

    def step(g: Graph, h: str, u: str) -> list[str]:
        ur, uz, un = g.split(u, 3)
        vr, vz = g.split(g.product(h, own["weight_hh_l0"][:two]), 2)
        r, z = g("Sigmoid", g("Add", ur, vr)), g("Sigmoid", g("Add", uz, vz))
        vn = g.product(g("Mul", r, h), own["weight_hh_l0"][two:])
        return [_interpolate(g, g("Tanh", g("Add", un, vn)), h, z)]

    return g.scan(step, states, last, g.product(x, own["weight_ih_l0"], own["bias_ih_l0"]))


def minimal(kind: str) -> Layer:
    """Return minGRU or minLSTM: the loop is h = k * h + b; the rest is computed before it."""

    def layer(g: Graph, own: Tensors, x: str, states: list[str], last: list[str]) -> str:
        def step(g: Graph, h: str, kb: str) -> list[str]:
            k, b = g.split(kb, 2)
            return [g("Add", g("Mul", k, h), b)]

        gates = g.product(x, own["weight_ih_l0"], own["bias_ih_l0"])
        if kind == "mingru":
            z, candidate = g.split(gates, 2)
            logit = g("Neg", z)
        else:
            f, i, candidate = g.split(gates, 3)
            logit = g("Sub", g("Softplus", g("Neg", i)), g("Softplus", g("Neg", f)))
        k = g("Sigmoid", logit)
        b = g("Sub", candidate, g("Mul", k, candidate))
        return g.scan(step, states, last, g("Concat", k, b, axis=-1))

    return layer


def _interpolate(g: Graph, new: str, old: str, z: str) -> str:
    """Return (1 - z) * new + z * old."""
    return g("Add", new, g("Mul", z, g("Sub", old, new)))


LAYERS: dict[str, Layer] = {
    "rnn": rnn("Tanh"),
    "rnn-relu": rnn("Relu"),
    "lstm-norm": lstm_norm,
    "gru": gru,
    "gru-before": gru_before,
    "mingru": minimal("mingru"),
    "minlstm": minimal("minlstm"),
}
