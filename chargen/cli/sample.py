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
    from chargen.sampling.sampler import Generated, Sampler

SEPARATOR = "\n---\n"  # between two texts
RULES, OUTPUT = "Constraints", "Output"


def sample(
    config: SampleConfig,
    model: common.Models = None,
    mix: common.Mix = None,
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

    sampler = open_sampler(model, mix, device, threads, int8)
    prompt = prompt_text(sampler, prompt, file, encoding)
    seedless = config.seed is None and beam is None
    if seedless:
        config = replace(config, seed=fresh_seed())
    settings: dict[str, Any] = vars(config) | {
        "regex": None if regex is None else as_text(regex),
        "words": words,
        "no_copy": no_copy,
    }
    state = read_prompt(sampler, prompt)
    streamed = stream and num_samples == 1 and beam is None and not as_json
    if streamed:
        pieces = sampler.generate(state, **settings)
    else:
        texts = sampler.generate_batch(state, num_samples, beam=beam, logprobs=logprobs, **settings)
    if seedless:  # now that nothing is refused: an error is one line
        common.warn(f"--seed {config.seed}")
    if streamed:
        _stream(prompt, pieces)
    elif as_json:
        _write_json(sampler, prompt, texts, logprobs)
    else:
        _write_texts(prompt, texts)


def _write_json(sampler: Sampler, prompt: str, texts: list[Generated], logprobs: bool) -> None:
    """Write a line per text; the bytes of its tokens are those of a text that is not UTF-8, too."""
    from chargen.tokenizers.byte import replaced

    tokenizer = sampler.tokenizer
    for text in texts:
        line: dict[str, Any] = {"text": replaced(text.text), "finish_reason": text.finish_reason}
        line |= {"prompt": replaced(prompt), "seed": text.seed}
        if logprobs:
            line["tokens"] = [replaced(tokenizer.decode([token])) for token in text.tokens]
            line["logprobs"] = list(text.logprobs)
        if logprobs or tokenizer.kind == "byte":
            line["bytes"] = [list(tokenizer.pieces[token]) for token in text.tokens]
        print(json.dumps(line))


def _stream(prompt: str, pieces: Iterator[str]) -> None:
    from chargen.display.output import Output

    output = Output(sys.stdout)
    output.write(prompt)
    try:
        for piece in pieces:
            output.write(piece)
    finally:
        output.end()


def _write_texts(prompt: str, texts: list[Generated]) -> None:
    """Write texts; a text that does not meet its constraints is an error after the last."""
    from chargen.display.output import Output
    from chargen.sampling.sampler import UNFINISHED

    output = Output(sys.stdout)
    for text in texts:
        output.write(SEPARATOR * bool(text.number) + prompt + text.text)
    output.end()
    unfinished = [str(text.number + 1) for text in texts if text.finish_reason == "dead_end"]
    if unfinished:
        raise ChargenError(f"{UNFINISHED} (text {', '.join(unfinished)})")
