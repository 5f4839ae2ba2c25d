"""``chargen repl``: write a text together with a model."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from chargen.cli import common
from chargen.config import SampleConfig, help_of


def repl(
    model: common.Model = None,
    length: Annotated[
        int, typer.Option("-n", "--length", help="Characters that the model writes at a time.")
    ] = 200,
    temperature: Annotated[
        float, typer.Option("-t", "--temp", help=help_of(SampleConfig, "temperature"))
    ] = SampleConfig.temperature,
    seed: Annotated[int | None, typer.Option(help=help_of(SampleConfig, "seed"))] = None,
    device: common.Device = "auto",
    threads: common.Threads = None,
    int8: common.Int8 = False,
) -> None:
    """Write a line and the model goes on; in a pipe, each line of stdin is continued."""
    from chargen.output import Output
    from chargen.repl import Session, converse
    from chargen.sampler import load

    common.check_device(device)
    config = SampleConfig(length=length, temperature=temperature, seed=seed)
    session = Session(load(model, device=device, threads=threads, int8=int8), config)
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if terminal:
        common.warn("/help lists the commands, Ctrl-D leaves")
    converse(session, _prompt() if terminal else _next_line, Output(sys.stdout).write, common.warn)


def _prompt() -> Callable[[], str]:
    from prompt_toolkit import PromptSession

    session: PromptSession[str] = PromptSession()
    return lambda: session.prompt("> ")


def _next_line() -> str:
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line.rstrip("\n")
