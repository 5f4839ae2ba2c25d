"""How much of what a model generates stands in its training text, word for word.

::

    python -m benchmarks.memorization RUN [RUN ...]

For each run, 20 samples of 2,000 characters at temperature 0.8: the longest passage copied,
the mean of the longest of each sample, and the fraction of 20-grams that stand in the text. The
last row is the held-out text itself, as far as it goes: people repeat themselves too.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

import chargen
from chargen.evaluation.heldout import own_dataset
from chargen.model.saved import open_model

SAMPLES, LENGTH, GRAM = 20, 2000, 20


def longest_copy(text: str, learned: str) -> int:
    """Return the length of the longest passage of a text that stands in another."""
    longest = 0
    for start in range(len(text)):
        while start + longest < len(text) and text[start : start + longest + 1] in learned:
            longest += 1
    return longest


def row(name: str, texts: Iterable[str], learned: str, grams: set[str]) -> str:
    """Return a row of the table for some texts."""
    samples = list(texts)
    copies = [longest_copy(text, learned) for text in samples]
    own = [text[i : i + GRAM] for text in samples for i in range(len(text) - GRAM + 1)]
    known = sum(gram in grams for gram in own) / max(1, len(own))
    return f"| {name} | {max(copies)} | {sum(copies) / len(copies):.0f} | {known:.1%} |"


def main() -> None:
    """Print a row per run."""
    print(f"| run | longest copy | mean of the longest | {GRAM}-grams of the text |")
    print("|---|---|---|---|")
    for name in sys.argv[1:]:
        saved = open_model(name)
        dataset, decode = own_dataset(saved), saved.tokenizer.decode
        learned = decode(dataset.train.tolist())
        grams = {learned[i : i + GRAM] for i in range(len(learned) - GRAM + 1)}
        made = chargen.load(name).generate_batch("", SAMPLES, length=LENGTH, seed=1)
        print(row(name, (sample.text for sample in made), learned, grams))
    held = decode(dataset.validation.ids.tolist())[: SAMPLES * LENGTH]
    pieces = (held[i : i + LENGTH] for i in range(0, len(held), LENGTH))
    print(row("held out", pieces, learned, grams))


if __name__ == "__main__":
    main()
