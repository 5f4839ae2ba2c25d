"""Ghost text by its limit of probability: how often it is shown, and how often it is right.

    python -m benchmarks.ghost MODEL TEXT [--held-out 0.1] [--places 400]

The text is typed from random places of its last part, which the model must not have learned: the
default run holds out a tenth. A character is right if it is the next one of the text, and all
before it in the ghost text are; a newline of the text counts as a space.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

from chargen.config import ReadConfig
from chargen.data.dataset import read_like
from chargen.sampling import ghost
from chargen.sampling.sampler import Sampler, load

LIMITS = (0.5, 0.3, 0.2, 0.1, 0.05, 0.0)
TYPED, BEFORE, WIDTH = 3, 400, 80  # characters of the line, of the text before it, of a row


def shown(model: Sampler, text: str, place: int) -> str:
    """Return the ghost text at a place of a text."""
    typed = place - TYPED
    lookahead = ghost.Lookahead(model, model.read(text[typed - BEFORE : typed]))
    return lookahead.ghost(text[typed:place], WIDTH, seconds=9.0)


def matching(ahead: str, text: str) -> int:
    """Return the characters of ghost text that are right."""
    pairs = enumerate(zip(ahead, text.replace("\n", " "), strict=False))
    return next((n for n, (a, b) in pairs if a != b), len(ahead))


def row(model: Sampler, text: str, places: list[int], limit: float) -> str:
    """Return a row of the table."""
    ghost.SURE = limit
    pairs = [(ahead, text[place:]) for place in places if (ahead := shown(model, text, place))]
    right = [matching(*pair) for pair in pairs]
    wrong = sum(len(ahead) for ahead, _ in pairs) - sum(right)
    words = [len(ahead) - len(ahead.lstrip()) + len(ahead.split()[0]) for ahead, _ in pairs]
    first = sum(n >= word for n, word in zip(right, words, strict=True))
    whole = sum(n == len(ahead) for n, (ahead, _) in zip(right, pairs, strict=True))
    cells = (
        f"{len(pairs) / len(places):.0%}",
        f"{(sum(right) + wrong) / len(pairs):.1f}",
        f"{first / len(pairs):.0%}",
        f"{whole / len(pairs):.0%}",
        f"{sum(right) / len(places):.1f}",
        f"{wrong / len(places):.1f}",
    )
    return "".join(f"{cell:>12}" for cell in (limit or "none", *cells))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("text", type=Path)
    parser.add_argument("--held-out", type=float, default=0.1)
    parser.add_argument("--places", type=int, default=400)
    options = parser.parse_args()
    model = load(options.model, threads=1)
    whole = read_like(ReadConfig(), str(options.text)).whole()
    text = whole[-round(len(whole) * options.held_out) :]
    rng = random.Random(1)
    last = len(text) - 2 * WIDTH
    places = [rng.randrange(BEFORE + TYPED, last) for _ in range(options.places)]
    names = ("limit", "shown", "characters", "next word", "all right", "right", "wrong")
    print("".join(f"{name:>12}" for name in names))
    for limit in LIMITS:
        print(row(model, text, places, limit))


if __name__ == "__main__":
    main()
