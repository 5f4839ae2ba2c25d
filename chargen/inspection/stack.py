"""Stack of a network as a diagram: its blocks from the tokens to the logits, without torch."""

from __future__ import annotations

from typing import Any

from chargen.display.diagram import Block, Diagram
from chargen.model.spec import ModelConfig, state_widths
from chargen.model.summary import DECODER, NGRAMS, Part, parts

SYMBOLS = {  # of the weights: W of the inputs, R of the state before, b biases
    "embedding.weight": "E",
    f"{NGRAMS}.table.weight": "E_n",
    "labels.weight": "E_l",
    "weight_ih_l0": "W",
    "weight_hh_l0": "R",
    "bias_ih_l0": "b",
    "bias_hh_l0": "b_R",
    "peephole": "p",
    "gain_ih_l0": "gain_I",
    "gain_hh_l0": "gain_R",
    "bias_c": "b_c",
    "head.decoder.weight": "W_d",
    "head.decoder.bias": "b_d",
    "head.weight": "W_y",
    "head.bias": "b_y",
}


def diagram(config: ModelConfig, *, counts: bool = False) -> Diagram:
    """Return the diagram of an architecture.

    Args:
        config: the architecture.
        counts: whether n-gram counts are mixed with its probabilities.
    """
    every = {part.name: part for part in parts(config)}
    embeddings = [_block(every["embedding"], config.vocab_size, config.embedding, tokens=1)]
    if config.ngrams:
        rows, tokens = sum(config.ngrams.rows), config.ngram_order
        embeddings.append(_block(every[NGRAMS], rows, config.embedding, tokens=tokens))
    if config.labels:
        embeddings.append(_block(every["labels"], len(config.labels), config.embedding))
    layers = [
        _layer(config, number, every[f"layer {number + 1}"]) for number in range(len(config.layers))
    ]
    head = _head(config, every)
    return Diagram(tuple(embeddings), tuple(layers), head, counts)


def _layer(config: ModelConfig, number: int, part: Part) -> Block:
    layer, place = config.layers[number], number + 1
    kind, state = layer.name.rpartition(":")[0].replace(":", " "), state_widths(config)[number]
    own = {"kind": kind, "state": state, "period": config.periods[number]}
    return _block(part, config.inputs[number], layer.hidden, first=place, last=place, **own)


def _head(config: ModelConfig, every: dict[str, Part]) -> Block:
    """Return the box of the head, with the decoder below it, if there is one."""
    head, decoder = every["head"], every.get(DECODER)
    if not decoder:
        return _block(head, config.head_inputs, config.vocab_size)
    shapes = {**{f"decoder.{name}": shape for name, shape in decoder.shapes.items()}, **head.shapes}
    inputs = sum(layer.hidden for layer in config.layers)
    whole = Part("head", None, shapes)
    return _block(whole, inputs, config.vocab_size, decoder=config.head_inputs)


def _block(part: Part, inputs: int, outputs: int, **own: Any) -> Block:
    """Return the box of a part."""
    weights = {
        SYMBOLS.get(f"{part.name}.{name}", SYMBOLS.get(name, name)): shape
        for name, shape in part.shapes.items()
    }
    return Block(part.name, inputs, outputs, weights, part.parameters, **own)


def describe(stack: Diagram) -> dict[str, Any]:
    """Return all facts about a stack as plain data."""
    blocks = [*stack.embeddings, *stack.layers, stack.head]
    return {
        "parameters": stack.parameters,
        "state": stack.state,
        "ngram_counts": stack.counts,
        "blocks": [
            {
                "name": block.name,
                "cell": block.kind or None,
                "inputs": block.inputs,
                "outputs": block.outputs,
                "state": block.state,
                "tokens": block.tokens or None,
                "weights": block.weights,
                "parameters": block.parameters,
            }
            for block in blocks
        ],
    }
