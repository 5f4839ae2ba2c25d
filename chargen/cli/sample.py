"""Command ``chargen sample``: generated text on stdout."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chargen.cli import common
from chargen.cli.options import as_text
from chargen.cli.reading import Prompt, PromptFile, open_sampler, prompt_text, read_prompt
from chargen.config import SampleConfig, fresh_seed, require_count
from chargen.errors import ChargenError, ConfigError

if TYPE_CHECKING:
    from chargen.sampling.generated import Generated
    from chargen.sampling.sampler import Sampler

SEPARATOR = "\n---\n"  # between two texts
SHOWN = 10  # numbers in a note
RULES, OUTPUT = "Constraints", "Output"


def sample(
    ctx: typer.Context,
    config: SampleConfig,
    model: common.Models = None,
    mix: common.Mix = None,
    label: common.Label = None,
    prompt: Prompt = "",
    file: PromptFile = None,
    num_samples: Annotated[int, typer.Option(help="Texts to generate, in one batch.")] = 1,
    beam: Annotated[
        int | None, typer.Option(help="Find the most likely text by beam search of this width.")
    ] = None,
    regex: Annotated[
        str | None,
        typer.Option(help="The text matches this regular expression.", rich_help_panel=RULES),
    ] = None,
    words: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The text has only words of this file.", rich_help_panel=RULES
        ),
    ] = None,
    no_copy: Annotated[
        int | None,
        typer.Option(help="Never copy N characters of the training text.", rich_help_panel=RULES),
    ] = None,
    stream: Annotated[
        bool,
        typer.Option(
            "--stream/--no-stream", help="Show text as it is generated.", rich_help_panel=OUTPUT
        ),
    ] = True,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write one JSON object per text.", rich_help_panel=OUTPUT)
    ] = False,
    logprobs: Annotated[
        bool,
        typer.Option(
            "--logprobs",
            help="With --json: tokens and their log probabilities in nats.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    encoding: common.Encoding = None,
    device: common.Device = "auto",
    threads: common.Threads = None,
    int8: common.Int8 = False,
) -> None:
    """Generate text with a trained model: the prompt, then what follows it."""
    common.check_machine(device, threads)
    require_count("num-samples", num_samples)
    if logprobs and not as_json:
        raise ConfigError("logprobs are written with --json only; add it")

    sampler = open_sampler(model, mix, device, threads, int8, label)
    prompt = prompt_text(sampler, prompt, file, encoding)
    if sampler.reading.end and not common.is_given(ctx, "length"):  # a record ends by itself
        from chargen.sampling.records import MOST

        config = replace(config, length=MOST)
    seedless = config.seed is None and beam is None
    if seedless:
        config = replace(config, seed=fresh_seed())
    settings: dict[str, Any] = vars(config) | {
        "regex": None if regex is None else as_text(regex),
        "words": words,
        "no_copy": no_copy,
    }
    state, own_line = read_prompt(sampler, prompt), sampler.reading.end == "\n"
    streamed = stream and num_samples == 1 and beam is None and not as_json
    if streamed:
        pieces = sampler.generate(state, **settings)
    else:
        texts = sampler.generate_batch(state, num_samples, beam=beam, logprobs=logprobs, **settings)
    if seedless:  # now that nothing is refused: an error is one line
        common.warn(f"--seed {config.seed}")
    if streamed:
        ends = [_stream(prompt, pieces, config.length, own_line)]
    elif as_json:
        ends = _write_json(sampler, prompt, texts, logprobs)
    else:
        ends = _write_texts(prompt, texts, own_line)
    if sampler.reading.end:
        _tell_cut(ends, config.length)


def _tell_cut(ends: list[str], length: int) -> None:
    """Say which records were not over at the length."""
    cut = [str(number) for number, reason in enumerate(ends, 1) if reason == "length"]
    if cut:
        which = ", ".join(cut[:SHOWN]) + ", ..." * (len(cut) > SHOWN)
        common.warn(f"cut after {length:,} characters, before the end of the record: text {which}")


def _write_json(sampler: Sampler, prompt: str, texts: list[Generated], logprobs: bool) -> list[str]:
    """Write a line per text; the bytes of its tokens are those of a text that is not UTF-8, too.

    Returns:
        Why each text ended.
    """
    from chargen.tokenizers.byte import replaced

    tokenizer = sampler.tokenizer
    for text in texts:
        line: dict[str, Any] = {"text": replaced(text.text), "finish_reason": text.finish_reason}
        line |= {"prompt": replaced(prompt), "seed": text.seed}
        if sampler.labels:
            line["label"] = sampler.label
        if logprobs:
            line["tokens"] = [replaced(tokenizer.decode([token])) for token in text.tokens]
            line["logprobs"] = list(text.logprobs)
        if logprobs or tokenizer.kind == "byte":
            line["bytes"] = [list(tokenizer.pieces[token]) for token in text.tokens]
        print(json.dumps(line))
    return [text.finish_reason for text in texts]


def _stream(prompt: str, pieces: Iterator[str], length: int, own_line: bool) -> str:
    """Write a text as it is generated; return ``length`` if it has that length."""
    from chargen.display.output import Output

    output, count = Output(sys.stdout), 0
    output.write(prompt)
    try:
        for piece in pieces:
            output.write(piece)
            count += len(piece)
        output.write("\n" * own_line)
    finally:
        output.end()
    return "length" if count >= length else ""


def _write_texts(prompt: str, texts: list[Generated], own_line: bool) -> list[str]:
    """Write texts; a text that does not meet its constraints is an error after the last.

    Args:
        prompt: before each text.
        texts: what was generated.
        own_line: each text is a line, not more.

    Returns:
        Why each text ended.
    """
    from chargen.display.output import Output
    from chargen.sampling.sampler import UNFINISHED

    output, ends = Output(sys.stdout), [text.finish_reason for text in texts]
    for text in texts:
        before = "" if own_line else SEPARATOR * bool(text.number)
        output.write(before + prompt + text.text + "\n" * own_line)
    output.end()
    unfinished = [str(number) for number, reason in enumerate(ends, 1) if reason == "dead_end"]
    if unfinished:
        raise ChargenError(f"{UNFINISHED} (text {', '.join(unfinished)})")
    return ends
