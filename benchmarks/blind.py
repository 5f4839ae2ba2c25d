"""Blind reading: samples of several models, shuffled, and the share of their words that exist.

::

    python -m benchmarks.blind RUN RUN --words /usr/share/dict/words [--temperature 0.8]

Ten samples of 300 characters of each model are printed without their names, numbered; the key comes
at the end. A word is a run of letters and apostrophes inside a sample, its first and last word left
out, since they may be cut; it exists if it stands in the list, whatever its capitals, also with 's.
"""

from __future__ import annotations

import argparse
import random
import re
from pathlib import Path

import chargen

WORD = re.compile(r"[A-Za-z]+(?:['\u2019][A-Za-z]+)?")
SAMPLES, LENGTH = 10, 300


def main() -> None:
    """Print the samples, the key, and the share of existing words."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--words", type=Path, default=Path("/usr/share/dict/words"))
    parser.add_argument("--temperature", type=float, default=0.8)
    asked = parser.parse_args()
    known = {line.lower() for line in asked.words.read_text().split("\n")}
    texts = [
        (name, sample.text)
        for name in asked.runs
        for sample in chargen.load(name).generate_batch(
            "", SAMPLES, length=LENGTH, temperature=asked.temperature, seed=1
        )
    ]
    shuffled = random.Random(1).sample(texts, len(texts))
    for number, (_, text) in enumerate(shuffled, 1):
        print(f"--- {number} ---\n{text.strip()}\n")
    for name in asked.runs:
        numbers = [str(n) for n, (run, _) in enumerate(shuffled, 1) if run == name]
        words = [word for run, text in texts if run == name for word in _words(text)]
        share = sum(_exists(word, known) for word in words) / len(words)
        print(f"{name}: {share:.1%} of {len(words):,} words exist; samples {', '.join(numbers)}")


def _words(text: str) -> list[str]:
    return WORD.findall(text)[1:-1]


def _exists(word: str, known: set[str]) -> bool:
    plain = word.lower().replace("\u2019", "'")
    return plain in known or plain.removesuffix("'s") in known


if __name__ == "__main__":
    main()
