"""Cost of constraints: of building them, and of a step on a new text and on the same text again.

    python -m benchmarks.constraints TEXT [--length 200] [--times 20]

Tokenizers are built from the text. The word list has all words of the text, and random ones up to
100,000. Texts are sampled uniformly from the allowed ids; a step is one ``allowed`` and one
``advance``. Figures are medians over the texts, in microseconds per step.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from chargen.sampling.constraints import Constraint, make_constraint
from chargen.sampling.constraints.automata import alphabet_of
from chargen.sampling.constraints.copies import CopyIndex, build_index
from chargen.sampling.constraints.no_copy import NoCopy
from chargen.sampling.constraints.tokens import TokenAutomaton
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


def sample(constraint: Constraint, used: Tokenizer, length: int, seed: int) -> list[int]:
    """Return the ids of a random text."""
    state, left, draws = constraint.start(), length, random.Random(seed)
    decoder, ids = used.decoder(), []
    while left > 0:
        choice = np.flatnonzero(constraint.allowed(state, left))
        if not len(choice):
            break
        ids.append(int(draws.choice(choice)))
        state = constraint.advance(state, ids[-1])
        left -= len(decoder.push(ids[-1]))
    return ids


def step_time(constraint: Constraint, ids: list[int], length: int) -> float:
    """Return the microseconds per step along a text."""
    state, begun = constraint.start(), time.perf_counter()
    for token in ids:
        constraint.allowed(state, length)
        state = constraint.advance(state, token)
    return (time.perf_counter() - begun) / max(1, len(ids)) * 1e6


def forget(constraint: Constraint) -> None:
    """Drop the cached masks."""
    for rule in constraint.rules:
        rule._masks.clear()


def row(
    used: Tokenizer, name: str, make: Callable[[], Constraint], length: int, times: int
) -> None:
    """Print the figures of one constraint."""
    begun = time.perf_counter()
    constraint = make()
    built = time.perf_counter() - begun
    firsts, agains = [], []
    for seed in range(times):
        ids = sample(constraint, used, length, seed)
        constraint = make() if built < 0.1 else constraint
        forget(constraint)
        firsts.append(step_time(constraint, ids, length))
        agains.append(step_time(constraint, ids, length))
    first, again = statistics.median(firsts), statistics.median(agains)
    print(
        f"| {used.kind} | {name} | {built * 1000:,.1f} | {first:,.0f} | {again:.1f} |", flush=True
    )


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

    def no_copy(n: int) -> TokenAutomaton:
        return TokenAutomaton(NoCopy(index, n, alphabet_of(used)), used)

    cases: dict[str, Callable[[], Constraint]] = {}
    for regex in PATTERNS:
        shown = "`" + regex.replace("|", "\\|") + "`"
        cases[shown] = partial(make_constraint, used, regex=regex)
    cases["100,000 words"] = partial(make_constraint, used, words=listed)
    for n in (16, 30):
        cases[f"no copy of {n}"] = lambda n=n: Constraint(no_copy(n))  # type: ignore[misc]
    for name, make in cases.items():
        row(used, name, make, length, times)
    both = *make_constraint(used, regex=SENTENCE).rules, no_copy(30)
    row(used, "a sentence, no copy of 30", lambda: Constraint(*both), length, max(1, times // 5))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text", type=Path)
    parser.add_argument("--length", type=int, default=200)
    parser.add_argument("--times", type=int, default=20)
    options = parser.parse_args()
    text = options.text.read_text()
    index = indexed(text)
    print("| ids | constraint | ms to build | us per step, new text | us per step, again |")
    print("|---|---|---|---|---|")
    for kind in ("char", "byte", "bpe"):
        used = build_tokenizer(kind, text, 1000)
        rows(used, text, index, options.length, options.times)


if __name__ == "__main__":
    main()
