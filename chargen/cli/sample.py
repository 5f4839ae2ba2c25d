"""``chargen sample``: generate text."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chargen.cli import common
from chargen.cli.options import as_text
from chargen.cli.reading import Prompt, PromptFile, prompt_text, read_prompt
from chargen.config import SampleConfig, fresh_seed, require
from chargen.errors import ConfigError
from chargen.storage.files import read_small_text

if TYPE_CHECKING:
    from chargen.sampling.beam import Candidate
    from chargen.sampling.constraints import Constraint
    from chargen.sampling.decoding import Sample
    from chargen.sampling.sampler import DecodeState, Sampler

    Written = Sample | Candidate

BETWEEN = "\n---\n"  # two texts
RULES, OUTPUT = "Constraints", "Output"


def sample(
    config: SampleConfig,
    model: common.Model = None,
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
    device: common.Device = "auto",
    threads: common.Threads = None,
    int8: common.Int8 = False,
) -> None:
    """Generate text with a trained model: the prompt, then what follows it."""
    common.check_machine(device, threads)
    require(1 <= num_samples <= 4096, "num-samples", num_samples, "1 to 4096")
    require(beam is None or 1 <= beam <= 1024, "beam", beam, "1 to 1024")
    require(no_copy is None or no_copy >= 1, "no-copy", no_copy, "1 or more characters")
    if logprobs and not as_json:
        raise ConfigError("logprobs are written with --json only; add it")
    prompt = prompt_text(prompt, file)

    from chargen.sampling.sampler import load

    sampler = load(model, device=device, threads=threads, int8=int8)
    rule = _rule(sampler, config, regex, words, no_copy, beam)
    place = read_prompt(sampler, prompt)
    if config.seed is None and beam is None:
        config = replace(config, seed=fresh_seed())
        common.warn(f"--seed {config.seed}")
    written: Iterator[Sequence[tuple[Written, str]]]
    if beam is None:
        written = sampler.write(place, config, num_samples, rule, logprobs=logprobs)
    else:
        written = _beam_search(sampler, place, config, num_samples, beam)
    if as_json:
        common_part = {"prompt": prompt, "seed": config.seed if beam is None else None}
        _write_json(sampler, common_part, written, logprobs)
    elif num_samples == 1 and stream:
        _stream(prompt, written)
    else:
        _write_texts(prompt, written)


def _rule(
    sampler: Sampler,
    config: SampleConfig,
    regex: str | None,
    words: Path | None,
    no_copy: int | None,
    beam: int | None,
) -> Constraint | None:
    """Return the constraint on the whole of each text."""
    if (regex, words, no_copy) == (None,) * 3:
        return None
    if beam is not None:
        raise ConfigError("--beam goes without --regex, --words and --no-copy; leave one out")
    from chargen.sampling.constraints import make_constraint

    rule = make_constraint(
        sampler.tokenizer,
        regex=None if regex is None else as_text(regex),
        words=None if words is None else read_small_text(words).splitlines(),
        no_copy=no_copy,
        run=sampler.run,
    )
    rule.require(config.length)
    return rule


def _beam_search(
    sampler: Sampler, place: DecodeState, config: SampleConfig, count: int, beam: int
) -> Iterator[Sequence[tuple[Written, str]]]:
    """Return the most likely texts that a beam search finds."""
    from chargen.sampling.beam import most_likely

    found = most_likely(sampler, place, config, max(beam, count))
    return iter([[(candidate, candidate.text) for candidate in found[:count]]])


def _write_json(
    sampler: Sampler,
    common_part: dict[str, Any],
    written: Iterator[Sequence[tuple[Written, str]]],
    logprobs: bool,
) -> None:
    for sample in _finished(written):
        line = {"text": sample.text, "finish_reason": sample.finish_reason, **common_part}
        if logprobs:
            line["tokens"] = [sampler.tokenizer.decode([token]) for token in sample.tokens]
            line["logprobs"] = list(sample.logprobs)
        print(json.dumps(line))


def _finished(written: Iterator[Sequence[tuple[Written, str]]]) -> list[Written]:
    """Return all texts once they are finished, in their order."""
    first = next(written)
    for _ in written:
        pass
    return [sample for sample, _ in first]


def _stream(prompt: str, written: Iterator[Sequence[tuple[Written, str]]]) -> None:
    from chargen.display.output import Output

    output = Output(sys.stdout)
    output.write(prompt)
    for ((_, piece),) in written:
        if piece:
            output.write(piece)
    output.end()


def _write_texts(prompt: str, written: Iterator[Sequence[tuple[Written, str]]]) -> None:
    from chargen.display.output import Output

    output = Output(sys.stdout)
    for number, sample in enumerate(_finished(written)):
        output.write(BETWEEN * bool(number) + prompt + sample.text)
    output.end()
