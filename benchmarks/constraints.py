"""What constraints cost: to build, a step where a text comes the first time, a step after that.

    python -m benchmarks.constraints TEXT [--length 200] [--times 20]

Tokenizers are learned from the text; the words are all of its words and as many made up as bring
them to 100,000. Texts are written by drawing evenly among the ids that are allowed, each step is
one ``allowed`` and one ``advance``. Medians over the texts, in microseconds a step.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from chargen.sampling.constraints import (
    Constraint,
    both,
    no_copy_constraint,
    regex_constraint,
    words_constraint,
)
from chargen.sampling.constraints.copies import CopyIndex, build_index
from chargen.sampling.constraints.wordlist import words_of
from chargen.tokenizers import Tokenizer, build_tokenizer

PATTERNS = [
    r"\d{4}-\d\d-\d\d",
    r"[A-Z][a-z]{2,10}( [a-z]{1,10}){3,8}\.",
    r"(ab|cd)*e?",
    r".{0,200}",
    r"[^\n]*\n",
    r"(a|b)*a(a|b){12}",
    r"([A-Z][a-z]{0,9}( [a-z]{1,10}){2,9}[.!?]\n?)+",
]
SENTENCE = r"[A-Z][a-z]{0,9}( [a-z]{1,10}){2,9}\."


def write(constraint: Constraint, length: int, seed: int) -> list[int]:
    """Return the ids of a text."""
    state, left, draws = constraint.start(), length, random.Random(seed)
    decoder, ids = constraint.tokenizer.decoder(), []
    while left > 0:
        choice = np.flatnonzero(constraint.allowed(state, left))
        if not len(choice):
            break
        ids.append(int(draws.choice(choice)))
        state = constraint.advance(state, ids[-1])
        left -= len(decoder.push(ids[-1]))
    return ids


def step_time(constraint: Constraint, ids: list[int], length: int) -> float:
    """Return microseconds a step along a text."""
    state, begun = constraint.start(), time.perf_counter()
    for token in ids:
        constraint.allowed(state, length)
        state = constraint.advance(state, token)
    return (time.perf_counter() - begun) / max(1, len(ids)) * 1e6


def row(name: str, make: Callable[[], Constraint], length: int, times: int) -> None:
    """Print what one constraint costs."""
    begun = time.perf_counter()
    constraint = make()
    built = time.perf_counter() - begun
    firsts, agains = [], []
    for seed in range(times):
        ids = write(constraint, length, seed)
        constraint = make() if built < 0.1 else constraint
        constraint._views.clear()
        firsts.append(step_time(constraint, ids, length))
        agains.append(step_time(constraint, ids, length))
    first, again = statistics.median(firsts), statistics.median(agains)
    kind = constraint.tokenizer.kind
    print(f"| {kind} | {name} | {built * 1000:,.1f} | {first:,.0f} | {again:.1f} |", flush=True)


def indexed(text: str) -> CopyIndex:
    """Build the index of a text, and print how fast and how large."""
    begun = time.perf_counter()
    index = build_index([text], len(text))
    seconds = time.perf_counter() - begun
    size = len(text.encode()) / 1e6
    print(
        f"index: {size:.1f} MB in {seconds:.2f} s ({size / seconds:.0f} MB/s), "
        f"{index.words.nbytes / 1e6:.2f} MB, false positives {index.false_positives:.3%}"
    )
    return index


def rows(used: Tokenizer, text: str, index: CopyIndex, length: int, times: int) -> None:
    """Print the rows of one tokenizer."""
    words = set(words_of(text))
    draws = random.Random(1)
    while len(words) < 100_000:
        words.add("".join(draws.choices("etaoinshrdlu", k=draws.randint(4, 12))))
    listed = sorted(words)
    for pattern in PATTERNS:
        shown = "`" + pattern.replace("|", "\\|") + "`"
        row(shown, lambda pattern=pattern: regex_constraint(pattern, used), length, times)  # type: ignore[misc]
    row("100,000 words", lambda: words_constraint(listed, used), length, times)
    for n in (16, 30):
        row(f"no copy of {n}", lambda n=n: no_copy_constraint(index, n, used), length, times)  # type: ignore[misc]
    sentence = regex_constraint(SENTENCE, used)
    all_words, no_copy = words_constraint(listed, used), no_copy_constraint(index, 30, used)
    few = max(1, times // 5)
    row("a sentence, no copy of 30", lambda: both(sentence, no_copy), length, few)
    row("a sentence of words", lambda: both(sentence, all_words), length, few)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text", type=Path)
    parser.add_argument("--length", type=int, default=200)
    parser.add_argument("--times", type=int, default=20)
    options = parser.parse_args()
    text = options.text.read_text()
    index = indexed(text)
    print("| ids | constraint | ms to build | us a step, first | us a step, then |")
    print("|---|---|---|---|---|")
    for kind in ("char", "byte", "bpe"):
        used = build_tokenizer(kind, text, 1000)
        rows(used, text, index, options.length, options.times)


if __name__ == "__main__":
    main()
