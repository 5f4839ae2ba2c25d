"""Suggested endings of a line, as in a program with chargen inside.

    python examples/suggest.py "The value of" [MODEL]

Prints five endings from the model (default: the newest run), generated in one batch. Nothing
here imports torch.
"""

import sys

import chargen
from chargen.errors import ChargenError


def endings(prompt: str, model: str | None, count: int = 5) -> list[str]:
    """Return some continuations of a line, up to its end."""
    texts = chargen.load(model).generate_batch(prompt, count, length=60, stop="\n", seed=1)
    return [text.text for text in texts]


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        raise SystemExit("usage: python suggest.py PROMPT [MODEL]")
    prompt, model = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
    try:
        for ending in endings(prompt, model):
            print(prompt + ending)
    except ChargenError as error:
        raise SystemExit(f"suggest.py: {error}") from None
