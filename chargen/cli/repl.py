"""Command ``chargen repl``: an interactive session."""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from chargen.cli import common
from chargen.config import SampleConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chargen.display.output import Output
    from chargen.repl import Session
    from chargen.repl.commands import Answer, Generation


def repl(
    config: Annotated[SampleConfig, ("temperature", "seed")],
    model: common.Model = None,
    length: Annotated[
        int, typer.Option("-n", "--length", help="Characters to generate per turn.")
    ] = 200,
    device: common.Device = "auto",
    threads: common.Threads = None,
    int8: common.Int8 = False,
) -> None:
    """Write a text in turns with a model; in a pipe, continue each line of stdin."""
    from chargen.display.output import Output
    from chargen.repl import Session
    from chargen.sampling.sampler import load

    common.check_machine(device, threads)
    config = replace(config, length=length)
    session = Session(load(model, device=device, threads=threads, int8=int8), config)
    if _is_terminal():
        from chargen.repl.conversation import Conversation

        Conversation(session).run()
    else:
        _run_lines(session, _lines(), Output(sys.stdout))


def _is_terminal() -> bool:
    from prompt_toolkit.utils import is_dumb_terminal

    return sys.stdin.isatty() and sys.stdout.isatty() and not is_dumb_terminal()


def _lines() -> Iterator[str]:
    if isinstance(sys.stdin, io.TextIOWrapper):  # invalid bytes are an error of their line only
        sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape")
    while line := sys.stdin.readline():
        yield line.rstrip("\n")


def _run_lines(session: Session, lines: Iterator[str], output: Output) -> None:
    """Continue each line and run each command, until the end or ``/bye``."""
    from chargen.errors import ChargenError
    from chargen.repl import commands

    for line in lines:
        try:
            answer = commands.answer(session, line)
        except ChargenError as error:
            common.warn(str(error))
            continue
        if isinstance(answer, commands.Quit):
            return
        _show(answer, output)


def _show(answer: Answer, output: Output) -> None:
    from chargen.evaluation.surprisal import by_word
    from chargen.repl import commands

    match answer:
        case commands.Message(text):
            common.warn(text)
        case commands.Heat(tokens):
            common.warn(commands.heat_table(by_word(tokens)))
        case commands.Edit():
            common.warn("/edit needs a terminal; /save and /load do not")
        case commands.Generation():
            _generate(answer, output)


def _generate(answer: Generation, output: Output) -> None:
    if answer.warning:
        common.warn(answer.warning)
    output.write(answer.line.removeprefix("\n"))
    for piece in answer.pieces:
        output.write(piece)
    output.write("\n")
