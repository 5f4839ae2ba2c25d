"""Suggest endings of a line: what a program does that has chargen inside.

    python examples/suggest.py "The value of" [MODEL]

Prints five endings from the model (default: the newest run), each by its own seed. Nothing
here imports torch.
"""

import sys

import chargen


def endings(prompt: str, model: str | None, count: int = 5) -> list[str]:
    """Return some ways in which a line could go on, up to the end of the line."""
    sampler = chargen.load(model)
    texts = ("".join(sampler.generate(prompt, length=60, seed=seed)) for seed in range(count))
    return [text.partition("\n")[0] for text in texts]


if __name__ == "__main__":
    prompt, model = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
    for ending in endings(prompt, model):
        print(prompt + ending)
