"""``chargen sample``: write a text."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from chargen.cli import common
from chargen.config import SampleConfig, fresh_seed, help_of

if TYPE_CHECKING:
    from collections.abc import Iterator


def sample(
    model: common.Model = None,
    prompt: Annotated[str, typer.Option("-p", "--prompt", help="Text to go on from.")] = "",
    length: Annotated[
        int, typer.Option("-n", "--length", help=help_of(SampleConfig, "length"))
    ] = SampleConfig.length,
    temperature: Annotated[
        float, typer.Option("-t", "--temp", help=help_of(SampleConfig, "temperature"))
    ] = SampleConfig.temperature,
    top_k: Annotated[int, typer.Option(help=help_of(SampleConfig, "top_k"))] = SampleConfig.top_k,
    top_p: Annotated[float, typer.Option(help=help_of(SampleConfig, "top_p"))] = (
        SampleConfig.top_p
    ),
    seed: Annotated[int | None, typer.Option(help=help_of(SampleConfig, "seed"))] = None,
    stream: Annotated[
        bool, typer.Option("--stream/--no-stream", help="Show text as it is written.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object.")] = False,
    device: common.Device = "auto",
    threads: common.Threads = None,
    int8: common.Int8 = False,
) -> None:
    """Write a text with a trained model: the prompt, then what follows it."""
    from chargen.sampler import load, unseen_words

    common.check_device(device)
    prompt = common.as_text(prompt)
    drawn = fresh_seed() if seed is None else seed
    config = SampleConfig(length, temperature, top_k, top_p, seed=drawn)
    sampler = load(model, device=device, threads=threads, int8=int8)
    if unseen := unseen_words(sampler.tokenizer, prompt):
        common.warn(unseen)
    if seed is None:
        common.warn(f"--seed {drawn}")
    pieces = sampler.stream(sampler.read(prompt), config)
    if as_json:
        _write_json(prompt, "".join(pieces), drawn)
    else:
        _write_text(prompt, pieces, stream)


def _write_json(prompt: str, text: str, seed: int) -> None:
    print(json.dumps({"text": text, "prompt": prompt, "finish_reason": "length", "seed": seed}))


def _write_text(prompt: str, pieces: Iterator[str], stream: bool) -> None:
    from chargen.output import Output

    output = Output(sys.stdout)
    output.write(prompt)
    if not stream:
        pieces = iter(["".join(pieces)])
    for piece in pieces:
        output.write(piece)
    output.end()
