"""The stack as a diagram: what it says is what the architecture has."""

from __future__ import annotations

import pytest

from chargen.inspection.stack import describe, diagram
from chargen.model.ngrams import NGramConfig
from chargen.model.spec import CELLS, ModelConfig, count_parameters, parse_stack, weight_shapes
from chargen.model.summary import FLOAT, state_memory

CONFIG = ModelConfig(7, parse_stack(",".join(f"{cell}:{5 + n}" for n, cell in enumerate(CELLS))), 3)


@pytest.mark.parametrize("ngrams", [None, NGramConfig((11, 13), (1,) * 7)])
def test_it_holds_all_weights_and_all_states(ngrams: NGramConfig | None) -> None:
    config = ModelConfig(7, CONFIG.layers, 3, ngrams)
    stack = diagram(config)
    assert stack.parameters == count_parameters(config)
    assert stack.state * FLOAT == state_memory(config)
    blocks = (*stack.embeddings, *stack.layers, stack.head)
    shapes = [shape for block in blocks for shape in block.weights.values()]
    assert sorted(shapes) == sorted(weight_shapes(config).values())
    assert [block.tokens for block in stack.embeddings] == [1, 3][: len(stack.embeddings)]


def test_each_block_reads_what_the_one_below_gives() -> None:
    stack = diagram(CONFIG)
    below = stack.embeddings[0].outputs
    for layer in stack.layers:
        assert layer.inputs == below
        below = layer.outputs
    assert stack.head.inputs == sum(layer.outputs for layer in stack.layers)
    assert (stack.embeddings[0].inputs, stack.head.outputs) == (7, 7)


def test_the_facts_are_plain_data() -> None:
    facts = describe(diagram(CONFIG))
    assert [block["name"] for block in facts["blocks"]][:2] == ["embedding", "layer 1"]
    assert facts["blocks"][3] == {
        "name": "layer 3",
        "cell": "lstm",
        "inputs": 6,
        "outputs": 7,
        "state": {"h": 7, "c": 7},
        "tokens": None,
        "weights": {"W": (28, 6), "b": (28,), "R": (28, 7), "b_R": (28,)},
        "parameters": 4 * 7 * (6 + 7 + 2),
    }
