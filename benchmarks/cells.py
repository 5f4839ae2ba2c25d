"""How well each cell learns a text in the same time with as many weights.

    python -m benchmarks.cells [TEXT] [--time 3m] [--weights 1200000] [--cells gru,mingru]

One layer of each cell, and three of the minimal ones, whose gates see no state and which
reach into the past through depth alone; the width is the one that comes nearest to the wanted
number of weights. Everything else is as ``chargen train`` has it. The loss is that of the last
10 % of the text, carried state, in nats per character.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.quality import find_text, train
from chargen.model.spec import CELLS, LayerConfig, ModelConfig, count_parameters
from chargen.tokenizers import build_tokenizer


def sized(kind: str, vocab_size: int, weights: int) -> ModelConfig:
    """Return the model of this cell that comes nearest to a number of weights."""
    depth = 3 if kind.startswith("min") else 1
    layers = (LayerConfig(kind, hidden) for hidden in range(8, 4096, 2))
    models = (ModelConfig(vocab_size, (layer,) * depth) for layer in layers)
    return min(models, key=lambda model: abs(count_parameters(model) - weights))


def main() -> None:
    """Print a row a cell, as a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text", nargs="?", default="tinyshakespeare")
    parser.add_argument("--time", default="3m")
    parser.add_argument("--weights", type=int, default=1_200_000)
    parser.add_argument("--cells", default=",".join(CELLS))
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    text = find_text(arguments.text)
    vocab_size = build_tokenizer("char", Path(text).read_text(), 0).vocab_size
    print("| cell | layers | weights | validation loss | steps | characters/s |")
    print("|---|---|---|---|---|---|", flush=True)
    for kind in arguments.cells.split(","):
        model = sized(kind, vocab_size, arguments.weights)
        stack = str(model.to_json()["stack"])
        end = train(text, arguments.time, arguments.seed, ["--stack", stack])
        print(
            f"| `{kind}` | {len(model.layers)} x {model.layers[0].hidden} | "
            f"{count_parameters(model):,} | {end['final_val_loss']:.4f} | {end['steps']:,} | "
            f"{end['characters_per_second']:,} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
