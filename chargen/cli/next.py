"""Command ``chargen next``: probabilities of the next token."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from chargen.cli import common
from chargen.cli.reading import (
    Prompt,
    PromptFile,
    open_sampler,
    prompt_text,
    read_prompt,
    write_lines,
)
from chargen.config import require_count

if TYPE_CHECKING:
    from chargen.evaluation.surprisal import NextToken

WIDTH = 40  # columns of a bar for a probability of 1
EIGHTHS = " ▏▎▍▌▋▊▉"
NAMES = {" ": "space", "\n": "newline", "\t": "tab"}


def next_characters(
    model: common.Models = None,
    mix: common.Mix = None,
    label: common.Label = None,
    prompt: Prompt = "",
    file: PromptFile = None,
    top: Annotated[int, typer.Option("-n", "--top", help="Tokens to show.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object.")] = False,
    encoding: common.Encoding = None,
    device: common.Device = "auto",
    threads: common.Threads = None,
    int8: common.Int8 = False,
) -> None:
    """Show the most likely next characters after a text, with their probabilities."""
    common.check_machine(device, threads)
    require_count("top", top)

    from chargen.evaluation.surprisal import next_distribution, next_facts

    sampler = open_sampler(model, mix, device, threads, int8, label)
    prompt = prompt_text(sampler, prompt, file, encoding)
    found = next_distribution(sampler, read_prompt(sampler, prompt), top)
    if as_json:
        from chargen.tokenizers.byte import replaced

        facts = {"prompt": replaced(prompt), **next_facts(sampler.tokenizer, found)}
        print(json.dumps(facts, indent=2))
        return
    write_lines(_table(found))
    common.warn(
        f"entropy {found.entropy:.2f} bits, as of {2**found.entropy:.1f} equally likely tokens"
    )


def _table(found: NextToken) -> Iterator[str]:
    """Yield a line per token, then one for the others and one for unknown characters."""
    from rich.cells import cell_len

    from chargen.evaluation.surprisal import bits_of

    rows = [(_shown(guess.text), guess.probability) for guess in found.most_likely]
    if found.others:
        words = "1 other" if found.others == 1 else f"{found.others:,} others"
        rows.append((words, found.others_probability))
    if found.unknown_probability is not None:
        rows.append(("unknown", found.unknown_probability))
    width = max(cell_len(name) for name, _ in rows)
    yield f"{'next':<{width}}  probability   bits"
    for name, prob in rows:
        padded = name + " " * (width - cell_len(name))
        yield f"{padded}       {prob:6.4f} {bits_of(prob):6.2f}  {_bar(prob)}".rstrip()


def _shown(text: str) -> str:
    return NAMES.get(text) or (text if text.startswith("\\x") else repr(text))


def _bar(probability: float) -> str:
    """Return a bar, exact to an eighth of a column; from 0.001 on it is never empty."""
    eighths = max(round(probability * WIDTH * 8), 1 if probability >= 0.001 else 0)
    return "█" * (eighths // 8) + EIGHTHS[eighths % 8].strip()
