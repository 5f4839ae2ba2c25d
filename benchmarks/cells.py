"""Quality of each cell on a text, in the same time and with as many parameters.

    python -m benchmarks.cells [TEXT] [--time 3m] [--parameters 1200000] [--cells gru,mingru]

One layer of each cell, but three of the minimal ones: their gates do not see the state, and only
depth makes them depend on it. The width is that whose number of parameters is nearest to the
given one. Everything else is as ``chargen train`` has it. The loss is the stateful one of the last
10 % of the text, in nats per character.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.quality import find_text, train
from chargen.model.spec import CELLS, LayerConfig, ModelConfig, count_parameters
from chargen.tokenizers import build_tokenizer


def sized(kind: str, vocab_size: int, parameters: int) -> ModelConfig:
    """Return the model of this cell with the number of parameters nearest to this one."""
    depth = 3 if kind.startswith("min") else 1
    layers = (LayerConfig(kind, hidden) for hidden in range(8, 4096, 2))
    models = (ModelConfig(vocab_size, (layer,) * depth) for layer in layers)
    return min(models, key=lambda model: abs(count_parameters(model) - parameters))


def main() -> None:
    """Print a row per cell, as a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text", nargs="?", default="tinyshakespeare")
    parser.add_argument("--time", default="3m")
    parser.add_argument("--parameters", type=int, default=1_200_000)
    parser.add_argument("--cells", default=",".join(CELLS))
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    text = find_text(arguments.text)
    vocab_size = build_tokenizer("char", Path(text).read_text(), 0).vocab_size
    print("| cell | layers | parameters | validation loss | steps | characters/s |")
    print("|---|---|---|---|---|---|", flush=True)
    for kind in arguments.cells.split(","):
        model = sized(kind, vocab_size, arguments.parameters)
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
