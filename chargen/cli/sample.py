"""``chargen sample``: write texts."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chargen.cli import common
from chargen.cli.reading import Prompt, PromptFile, prompt_text, read_prompt
from chargen.config import SampleConfig, fresh_seed, help_of, unescape
from chargen.errors import ConfigError
from chargen.storage.files import read_small_text

if TYPE_CHECKING:
    from chargen.sampling.beam import Candidate
    from chargen.sampling.constraints import Constraint
    from chargen.sampling.decoding import Sample
    from chargen.sampling.sampler import Place, Sampler

    Written = Sample | Candidate

BETWEEN = "\n---\n"  # two texts
RULES, OUTPUT = "What must hold", "The output"
FILTERS, PENALTIES = "What is kept", "What is taken off"
Default = SampleConfig


def _of(name: str, panel: str, *flags: str) -> Any:
    return common.of(SampleConfig, name, panel, *flags)


def sample(
    ctx: typer.Context,
    model: common.Model = None,
    prompt: Prompt = "",
    file: PromptFile = None,
    length: Annotated[
        int, typer.Option("-n", "--length", help=help_of(SampleConfig, "length"))
    ] = Default.length,
    temperature: Annotated[
        float, typer.Option("-t", "--temp", help=help_of(SampleConfig, "temperature"))
    ] = Default.temperature,
    seed: Annotated[int | None, typer.Option(help=help_of(SampleConfig, "seed"))] = None,
    num_samples: Annotated[
        int, typer.Option(min=1, max=4096, help="Texts to write, side by side.")
    ] = 1,
    stop: Annotated[list[str] | None, typer.Option(help=help_of(SampleConfig, "stop"))] = None,
    beam: Annotated[
        int | None,
        typer.Option(min=1, max=1024, help="Write the likeliest text that a beam finds."),
    ] = None,
    regex: Annotated[
        str | None,
        typer.Option(help="The whole text matches this pattern.", rich_help_panel=RULES),
    ] = None,
    words: Annotated[
        Path | None,
        typer.Option(help="File of words: the text has no others.", rich_help_panel=RULES),
    ] = None,
    no_copy: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Never so many characters in a row from the training text.",
            rich_help_panel=RULES,
        ),
    ] = None,
    top_k: Annotated[int, _of("top_k", FILTERS)] = Default.top_k,
    typical: Annotated[float, _of("typical", FILTERS)] = Default.typical,
    top_p: Annotated[float, _of("top_p", FILTERS)] = Default.top_p,
    min_p: Annotated[float, _of("min_p", FILTERS)] = Default.min_p,
    mirostat: Annotated[int, _of("mirostat", FILTERS)] = Default.mirostat,
    mirostat_lr: Annotated[float, _of("mirostat_lr", FILTERS)] = Default.mirostat_lr,
    mirostat_ent: Annotated[float, _of("mirostat_ent", FILTERS)] = Default.mirostat_ent,
    ban: Annotated[str, _of("ban", FILTERS)] = Default.ban,
    logit_bias: Annotated[
        list[str] | None,
        typer.Option(
            "-l", "--logit-bias", help="Such as e-2: added to its score.", rich_help_panel=FILTERS
        ),
    ] = None,
    repeat_last_n: Annotated[int, _of("repeat_last_n", PENALTIES)] = Default.repeat_last_n,
    repeat_penalty: Annotated[float, _of("repeat_penalty", PENALTIES)] = Default.repeat_penalty,
    presence_penalty: Annotated[
        float, _of("presence_penalty", PENALTIES)
    ] = Default.presence_penalty,
    frequency_penalty: Annotated[
        float, _of("frequency_penalty", PENALTIES)
    ] = Default.frequency_penalty,
    dry_multiplier: Annotated[float, _of("dry_multiplier", PENALTIES)] = Default.dry_multiplier,
    dry_base: Annotated[float, _of("dry_base", PENALTIES)] = Default.dry_base,
    dry_allowed_length: Annotated[
        int, _of("dry_allowed_length", PENALTIES)
    ] = Default.dry_allowed_length,
    dry_penalty_last_n: Annotated[
        int, _of("dry_penalty_last_n", PENALTIES)
    ] = Default.dry_penalty_last_n,
    dry_sequence_breakers: Annotated[
        list[str] | None,
        _of("dry_sequence_breakers", PENALTIES, "--dry-sequence-breaker"),
    ] = None,
    stream: Annotated[
        bool,
        typer.Option(
            "--stream/--no-stream", help="Show text as it is written.", rich_help_panel=OUTPUT
        ),
    ] = True,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Write a JSON object a text.", rich_help_panel=OUTPUT),
    ] = False,
    logprobs: Annotated[
        bool,
        typer.Option(
            "--logprobs",
            help="With --json: tokens and their log probabilities, in nats.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    device: common.Device = "auto",
    threads: common.Threads = None,
    int8: common.Int8 = False,
) -> None:
    """Write texts with a trained model: the prompt, then what follows it."""
    common.check_device(device)
    if logprobs and not as_json:
        raise ConfigError("logprobs are written with --json only; add it")
    prompt, config = prompt_text(prompt, file), _config(ctx.params)

    from chargen.sampling.sampler import load

    sampler = load(model, device=device, threads=threads, int8=int8)
    rule = _rule(ctx.params, sampler)
    place = read_prompt(sampler, prompt)
    if seed is None and beam is None:
        common.warn(f"--seed {config.seed}")
    written: Iterator[Sequence[tuple[Written, str]]]
    if beam is None:
        written = sampler.write(place, config, num_samples, rule, logprobs=logprobs)
    else:
        written = _likeliest(sampler, place, config, num_samples, beam)
    if as_json:
        common_part = {"prompt": prompt, "seed": config.seed if beam is None else None}
        _write_json(sampler, common_part, written, logprobs)
    elif num_samples == 1 and stream:
        _stream(prompt, written)
    else:
        _write_texts(prompt, written)


def _config(options: dict[str, Any]) -> SampleConfig:
    """Return the settings that the options describe, with a seed drawn if none was given."""
    values = {field.name: options[field.name] for field in dataclasses.fields(SampleConfig)}
    values["seed"] = fresh_seed() if values["seed"] is None else values["seed"]
    values["ban"] = unescape(common.as_text(values["ban"]))
    for name in ("stop", "dry_sequence_breakers", "logit_bias"):
        given = [unescape(common.as_text(text)) for text in values[name] or ()]
        values[name] = tuple(given) or getattr(SampleConfig, name)
    values["logit_bias"] = tuple(_bias(text) for text in values["logit_bias"])
    return SampleConfig(**values)


def _bias(text: str) -> tuple[str, float]:
    """Read a character and what is added to its score, such as ``e-2.5``."""
    with contextlib.suppress(ValueError):
        return text[:1], float(text[1:])
    raise ConfigError(f"logit-bias is {text!r}; allowed: a character and a number, such as e-2")


def _rule(options: dict[str, Any], sampler: Sampler) -> Constraint | None:
    """Return what the whole of each text has to keep to."""
    regex, words, no_copy = (options[name] for name in ("regex", "words", "no_copy"))
    if regex is words is no_copy is None:
        return None
    if options["beam"]:
        raise ConfigError("--beam goes without --regex, --words and --no-copy; leave one out")

    from chargen.sampling import constraints

    rules, tokenizer = [], sampler.tokenizer
    if regex is not None:
        rules.append(constraints.regex_constraint(common.as_text(regex), tokenizer))
    if words is not None:
        listed = read_small_text(words).splitlines()
        rules.append(constraints.words_constraint(listed, tokenizer))
    if no_copy is not None:
        from chargen.sampling.constraints.copies import load_index
        from chargen.storage.runs import find_model

        index = load_index(find_model(options["model"]).parent)
        rules.append(constraints.no_copy_constraint(index, no_copy, tokenizer))
    rule = constraints.both(*rules)
    rule.require(options["length"])
    return rule


def _likeliest(
    sampler: Sampler, place: Place, config: SampleConfig, count: int, beam: int
) -> Iterator[Sequence[tuple[Written, str]]]:
    """Return the likeliest texts that a beam finds."""
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
