"""Architecture of a model without torch: the table of the cells, layers, shapes of all weights.

All that is particular to a cell, except its equations in ``cells`` and its ONNX loop in
``engine.steps``, stands in ``CELLS``.
"""

from __future__ import annotations

import itertools
import math
import operator
import re
from dataclasses import dataclass
from typing import Any, NamedTuple

from chargen.config import require
from chargen.errors import ConfigError
from chargen.model.ngrams import NGramConfig

Shape = tuple[int, ...]

_INPUT = ("weight_ih_l0", "bias_ih_l0")
_PLAIN = (*_INPUT, "weight_hh_l0")
_TORCH = (*_PLAIN, "bias_hh_l0")


class OnnxOperator(NamedTuple):
    """ONNX's own operator for a cell.

    Attributes:
        name: of the operator.
        order: our blocks of H rows in the order in which ONNX wants them; a negative number
            is a block with its sign changed, counted from -1.
        attributes: settings of the operator.
    """

    name: str
    order: tuple[int, ...]
    attributes: dict[str, Any] = {}  # noqa: RUF012


@dataclass(frozen=True)
class CellSpec:
    """What a cell consists of and what it needs.

    Attributes:
        blocks: blocks of H rows in its weights (gates and candidate).
        weights: names of its weights, as torch.nn calls them.
        learning_rate: peak learning rate that suits it under AdamW.
        memory: numbers that a step of training holds for each token and hidden unit when it
            holds most: in float32 whatever the precision, and in the run's precision. Fitted
            to torch's profiler (``python -m benchmarks.footprint``).
        states: a letter for each part of its state: the output h, an LSTM's memory cell c, the
            last inputs x of a convolution.
        operator: ONNX's operator; None where the ONNX graph loops over the cell's step.
    """

    blocks: int
    weights: tuple[str, ...]
    learning_rate: float
    memory: tuple[int, int]
    states: str = "h"
    operator: OnnxOperator | None = None

    def shapes(self, inputs: int, hidden: int) -> dict[str, Shape]:
        """Return the shape of each weight by name, for I inputs and H hidden units."""
        rows = self.blocks * hidden
        shapes: dict[str, Shape] = {
            "weight_ih_l0": (rows, inputs),
            "weight_hh_l0": (rows, hidden),
            "gain_c": (hidden,),
            "bias_c": (hidden,),
            "peephole": (3, hidden),
        }
        return {name: shapes.get(name, (rows,)) for name in self.weights}


CELLS = {
    "rnn": CellSpec(1, _TORCH, 2e-3, (0, 3), operator=OnnxOperator("RNN", (0,))),
    "rnn-relu": CellSpec(
        1, _TORCH, 2e-3, (0, 3), operator=OnnxOperator("RNN", (0,), {"activations": ["Relu"]})
    ),
    # i, f, g, o -> i, o, f, g
    "lstm": CellSpec(4, _TORCH, 8e-3, (4, 16), "hc", OnnxOperator("LSTM", (0, 3, 1, 2))),
    "lstm-peephole": CellSpec(
        *(4, (*_PLAIN, "peephole"), 8e-3, (7, 5), "hc"), OnnxOperator("LSTM", (0, 3, 1, 2))
    ),
    # f, g, o -> i, o, f, g, where ONNX couples f = 1 - i, and 1 - sigma(a) = sigma(-a)
    "lstm-coupled": CellSpec(
        *(3, _PLAIN, 8e-3, (4, 19), "hc"),
        OnnxOperator("LSTM", (-1, 2, 0, 1), {"input_forget": 1}),
    ),
    "lstm-norm": CellSpec(
        *(4, (*_TORCH, "gain_ih_l0", "gain_hh_l0", "gain_c", "bias_c"), 8e-3, (20, 4), "hc")
    ),
    # r, z, n -> z, r, n
    "gru": CellSpec(
        *(3, _TORCH, 5e-3, (2, 5), "h"),
        OnnxOperator("GRU", (1, 0, 2), {"linear_before_reset": 1}),
    ),
    "gru-before": CellSpec(
        *(3, _PLAIN, 5e-3, (5, 6), "h"),
        OnnxOperator("GRU", (1, 0, 2), {"linear_before_reset": 0}),
    ),
    "mingru": CellSpec(2, _INPUT, 5e-3, (6, 0)),
    "minlstm": CellSpec(3, _INPUT, 5e-3, (10, 0)),
}

CONVOLUTION = "conv"
SPECS = {**CELLS, CONVOLUTION: CellSpec(1, _INPUT, 8e-3, (3, 1), "hx")}
LABEL_STD = 0.5  # of the first vectors of labels: from zero, a network learns to do without them
LONGEST_KERNEL = 64


# -- layers -------------------------------------------------------------------------------


@dataclass(frozen=True)
class LayerConfig:
    """One layer: a recurrent cell, or a causal convolution.

    Attributes:
        kind: name of the cell in ``CELLS``, or ``conv``.
        hidden: width of its outputs.
        kernel: inputs that an output of a convolution reads, the newest among them; 1 for a cell.
        stride: steps of a convolution for one step of the layers above it; 1 for a cell.
    """

    kind: str = "lstm"
    hidden: int = 512
    kernel: int = 1
    stride: int = 1

    def __post_init__(self) -> None:
        require(self.kind in SPECS, "cell", self.kind, ", ".join(SPECS))
        require(1 <= self.hidden <= 16384, "hidden size", self.hidden, "1 to 16384")
        if self.kind in CELLS:
            own = f"{self.kernel}x{self.stride}"
            require(own == "1x1", f"kernel of {self.kind}", own, "none; only conv has one")
            return
        kernels = f"2 to {LONGEST_KERNEL}, as in conv:4:128"
        require(2 <= self.kernel <= LONGEST_KERNEL, "kernel of conv", self.kernel, kernels)
        strides = f"1 to {self.kernel}, its kernel"
        require(1 <= self.stride <= self.kernel, "stride of conv", self.stride, strides)

    @property
    def spec(self) -> CellSpec:
        """What it consists of: the cell's row in the table, or that of the convolution."""
        return SPECS[self.kind]

    @property
    def name(self) -> str:
        """The layer as ``parse_stack`` reads it."""
        sizes = [self.kernel, self.stride][: 1 + (self.stride > 1)]
        kernel = ":" + "x".join(map(str, sizes)) if self.kind == CONVOLUTION else ""
        return f"{self.kind}{kernel}:{self.hidden}"


def parse_stack(stack: str) -> tuple[LayerConfig, ...]:
    """Read ``gru:128,lstm:64`` or ``conv:4x2:128,gru:256`` (kernel and stride), bottom layer first.

    Raises:
        ConfigError: a part is not ``kind:width``, or its kind or a number is not allowed.
    """
    return tuple(_parse_layer(part.strip()) for part in stack.split(","))


def _parse_layer(part: str) -> LayerConfig:
    found = re.fullmatch(r"([a-z-]+):(?:([0-9]{1,6})(?:x([0-9]{1,6}))?:)?([0-9]{1,6})", part)
    if not found:
        raise ConfigError(
            f"stack part {part!r} is not CELL:WIDTH; write for example gru:128,lstm:64 or "
            "conv:4:128,gru:256"
        )
    kind, kernel, stride, width = found.groups()
    return LayerConfig(kind, int(width), int(kernel or 1), int(stride or 1))


def format_stack(layers: tuple[LayerConfig, ...]) -> str:
    """Write layers as ``parse_stack`` reads them."""
    return ",".join(layer.name for layer in layers)


# -- models -------------------------------------------------------------------------------


@dataclass(frozen=True)
class ModelConfig:
    """The architecture: embeddings, stacked layers, a linear head on all of them."""

    vocab_size: int
    layers: tuple[LayerConfig, ...] = (LayerConfig(),)
    embedding: int = 64
    ngrams: NGramConfig | None = None
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require(1 <= self.vocab_size <= 1 << 20, "vocabulary size", self.vocab_size, "1 to 1048576")
        require(1 <= self.embedding <= 16384, "embedding", self.embedding, "1 to 16384")
        require(1 <= len(self.layers) <= 64, "number of layers", len(self.layers), "1 to 64")
        stride = self.layers[-1].stride
        require(stride == 1, "stride of the top layer", stride, "1; a layer above it is missing")
        codes = len(self.ngrams.codes) if self.ngrams else self.vocab_size
        require(codes == self.vocab_size, "codes of tokens", codes, str(self.vocab_size))
        texts = all(isinstance(label, str) for label in self.labels)
        fits = texts and len(set(self.labels)) == len(self.labels)
        require(fits, "labels", self.labels, "texts, each of them once")

    @property
    def ngram_order(self) -> int:
        """Tokens of the longest n-gram that has an embedding; 1 if there are none."""
        return 1 + len(self.ngrams.rows) if self.ngrams else 1

    @property
    def head_inputs(self) -> int:
        """Width of what the head reads: the outputs of all layers, or the decoder's."""
        widths = [layer.hidden for layer in self.layers]
        return max(widths) if self.periods[-1] > 1 else sum(widths)

    @property
    def inputs(self) -> tuple[int, ...]:
        """Width of what each layer reads: the embedding, or the outputs of the layer below."""
        return (self.embedding, *(layer.hidden for layer in self.layers[:-1]))

    @property
    def periods(self) -> tuple[int, ...]:
        """Tokens for one step of each layer: the product of the strides below it."""
        strides = (1, *(layer.stride for layer in self.layers[:-1]))
        return tuple(itertools.accumulate(strides, operator.mul))

    def to_json(self) -> dict[str, Any]:
        """Return plain data from which ``from_json`` makes the same config."""
        return {
            "vocab_size": self.vocab_size,
            "embedding": self.embedding,
            "stack": format_stack(self.layers),
            "ngrams": self.ngrams and self.ngrams.to_json(),
            "labels": list(self.labels),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ModelConfig:
        """Read what ``to_json`` wrote; raises ConfigError or KeyError on anything else."""
        vocab_size, embedding = data["vocab_size"], data["embedding"]
        require(type(vocab_size) is int, "vocabulary size", vocab_size, "a whole number")
        require(type(embedding) is int, "embedding", embedding, "a whole number")
        ngrams = NGramConfig.from_json(data.get("ngrams"))
        labels = tuple(data.get("labels", ()))
        return cls(vocab_size, parse_stack(str(data["stack"])), embedding, ngrams, labels)


def weight_shapes(config: ModelConfig) -> dict[str, Shape]:
    """Return the name and shape of every weight of a model, as torch.nn names them."""
    shapes: dict[str, Shape] = {
        "embedding.weight": (config.vocab_size, config.embedding),
        "head.weight": (config.vocab_size, config.head_inputs),
        "head.bias": (config.vocab_size,),
    }
    if config.ngrams:
        shapes["ngrams.table.weight"] = (sum(config.ngrams.rows), config.embedding)
    if config.labels:
        shapes["labels.weight"] = (len(config.labels), config.embedding)
    decoder = decoder_shapes(config) if config.periods[-1] > 1 else {}
    shapes |= {f"decoder.{name}": shape for name, shape in decoder.items()}
    for number, (layer, inputs) in enumerate(zip(config.layers, config.inputs, strict=True)):
        own = layer.spec.shapes(layer.kernel * inputs, layer.hidden)
        shapes |= {f"layers.{number}.{name}": shape for name, shape in own.items()}
    return shapes


def decoder_shapes(config: ModelConfig) -> dict[str, Shape]:
    """Return the shapes of the layer between all others and the head, where there is a stride."""
    outputs = sum(layer.hidden for layer in config.layers)
    hidden = config.head_inputs
    return {"weight": (hidden, outputs), "bias": (config.periods[-1], hidden)}


def state_widths(config: ModelConfig) -> list[dict[str, int]]:
    """Return the width of each part of the state, by its letter, for each layer.

    A layer above a stride has one part more: the place p in its period, in tokens.
    """
    found = []
    for layer, inputs, period in zip(config.layers, config.inputs, config.periods, strict=True):
        widths = dict.fromkeys(layer.spec.states, layer.hidden)
        widths |= {"x": (layer.kernel - 1) * inputs} if layer.kind == CONVOLUTION else {}
        found.append(widths | ({"p": 1} if period > 1 else {}))
    return found


def label_place(config: ModelConfig) -> int:
    """Return which part of the state holds the weights of the labels: behind all layers."""
    return sum(map(len, state_widths(config)))


def count_parameters(config: ModelConfig) -> int:
    """Return the number of weights of a model."""
    return sum(math.prod(shape) for shape in weight_shapes(config).values())
