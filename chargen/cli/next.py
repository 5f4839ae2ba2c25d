"""``chargen next``: what a model expects to come next."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chargen.cli import common
from chargen.cli.reading import Prompt, PromptFile, prompt_text, read_prompt, write_lines

if TYPE_CHECKING:
    from chargen.evaluation.surprisal import Guess
    from chargen.sampling.sampler import Sampler

WIDTH = 40  # cells of a bar that stands for certainty
EIGHTHS = " ▏▎▍▌▋▊▉"
NAMES = {" ": "space", "\n": "newline", "\t": "tab"}


@dataclass(frozen=True)
class Expected:
    """What a model expects at a place.

    Attributes:
        likeliest: tokens, the likeliest first.
        others: how many tokens more there are.
        others_probability: of one of those.
        unseen_probability: of a character that the model never saw; None if it knows all.
        entropy: bits that the next token will cost on average, if the model is right.
    """

    likeliest: tuple[Guess, ...]
    others: int
    others_probability: float
    unseen_probability: float | None
    entropy: float


def next_characters(
    model: common.Model = None,
    prompt: Prompt = "",
    file: PromptFile = None,
    top: Annotated[int, typer.Option("-n", "--top", min=1, help="Rows to show.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object.")] = False,
    device: common.Device = "auto",
    threads: common.Threads = None,
    int8: common.Int8 = False,
) -> None:
    """Show which characters a model expects after a text, with their probabilities."""
    common.check_machine(device, threads)
    prompt = prompt_text(prompt, file)

    from chargen.sampling.sampler import load

    sampler = load(model, device=device, threads=threads, int8=int8)
    expected = _expected(sampler, prompt, top)
    if as_json:
        print(json.dumps(_facts(prompt, expected), indent=2))
        return
    write_lines(_table(expected))
    common.warn(
        f"{expected.entropy:.2f} bits expected: as open as a choice between "
        f"{2**expected.entropy:.1f} that are equally likely"
    )


def _expected(sampler: Sampler, prompt: str, top: int) -> Expected:
    import numpy as np

    from chargen.evaluation.surprisal import best_guesses
    from chargen.sampling.filters import log_probabilities

    tokenizer, place = sampler.tokenizer, read_prompt(sampler, prompt)
    scores = log_probabilities(place.logits[None])  # (1, V)
    (likeliest,) = best_guesses(tokenizer, scores, top)
    probs = np.exp(scores[0])
    unseen = None if tokenizer.unknown_id is None else float(probs[tokenizer.unknown_id])
    rest = 1 - sum(guess.probability for guess in likeliest) - (unseen or 0)
    return Expected(
        likeliest,
        tokenizer.vocab_size - len(tokenizer.never_sampled) - len(likeliest),
        max(0.0, rest),
        unseen,
        float(-(probs * scores[0]).sum() / math.log(2)),
    )


def _facts(prompt: str, expected: Expected) -> dict[str, Any]:
    rows = [
        {
            "text": guess.text,
            "token": guess.token,
            "probability": guess.probability,
            "bits": _bits(guess.probability),
        }
        for guess in expected.likeliest
    ]
    return {
        "prompt": prompt,
        "next": rows,
        "others": {"count": expected.others, "probability": expected.others_probability},
        "unseen_probability": expected.unseen_probability,
        "entropy": expected.entropy,
    }


def _table(expected: Expected) -> Iterator[str]:
    """Yield a line a token, and what is left over."""
    from rich.cells import cell_len

    rows = [(_shown(guess.text), guess.probability) for guess in expected.likeliest]
    if expected.others:
        words = "1 other" if expected.others == 1 else f"{expected.others:,} others"
        rows.append((words, expected.others_probability))
    if expected.unseen_probability is not None:
        rows.append(("never seen", expected.unseen_probability))
    width = max(cell_len(name) for name, _ in rows)
    yield f"{'next':<{width}}  probability   bits"
    for name, chance in rows:
        padded = name + " " * (width - cell_len(name))
        yield f"{padded}       {chance:6.4f} {_bits(chance):6.2f}  {_bar(chance)}".rstrip()


def _shown(text: str) -> str:
    return NAMES.get(text) or (text if text.startswith("\\x") else repr(text))


def _bits(chance: float) -> float:
    return -math.log2(max(chance, 5e-324))


def _bar(chance: float) -> str:
    """Return a bar, to an eighth of a cell; what is there at all is seen."""
    eighths = max(round(chance * WIDTH * 8), 1 if chance >= 0.001 else 0)
    return "█" * (eighths // 8) + EIGHTHS[eighths % 8].strip()
