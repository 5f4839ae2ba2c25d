"""Command ``chargen repl``: an interactive session."""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from chargen.cli import common
from chargen.cli.options import as_text
from chargen.cli.reading import open_sampler
from chargen.config import ReadConfig, SampleConfig
from chargen.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chargen.display.output import Output
    from chargen.repl import Session
    from chargen.repl.commands import Answer, Generation


def repl(
    config: Annotated[SampleConfig, ("temperature", "seed")],
    model: common.Models = None,
    mix: common.Mix = None,
    label: common.Label = None,
    length: Annotated[
        int, typer.Option("-n", "--length", help="Characters to generate per turn.")
    ] = 200,
    device: common.Device = "auto",
    threads: common.Threads = None,
    int8: common.Int8 = False,
) -> None:
    """Write a text in turns with a model; in a pipe, continue each line of stdin.

    In a pipe, a line that is refused is named on stderr, the others are still
    answered, and the exit code is 1.
    """
    from chargen.display.output import Output
    from chargen.repl import Session

    common.check_machine(device, threads)
    config = replace(config, length=length)
    session = Session(open_sampler(model, mix, device, threads, int8), config)
    if label is not None:
        session.relabel(as_text(label))
    if _is_terminal():
        from chargen.repl.conversation import Conversation

        Conversation(session).run()
    else:
        refused = _run_lines(session, _lines(session.sampler.reading), Output(sys.stdout))
        if refused:
            raise typer.Exit(1)


def _is_terminal() -> bool:
    from prompt_toolkit.utils import is_dumb_terminal

    return sys.stdin.isatty() and sys.stdout.isatty() and not is_dumb_terminal()


def _lines(own: ReadConfig) -> Iterator[str]:
    """Return the lines of standard input, read as the corpus of the model was."""
    from chargen.data.decoding import stream_lines

    assert isinstance(sys.stdin.buffer, io.BufferedReader)
    return stream_lines(sys.stdin.buffer, own)


def _run_lines(session: Session, lines: Iterator[str], output: Output) -> int:
    """Continue each line and run each command, until the end or ``/bye``.

    Returns:
        The number of lines that were refused.
    """
    from chargen.errors import ChargenError, OutputError
    from chargen.repl import commands

    refused = 0
    for line in lines:
        try:
            answer = commands.answer(session, line, own_line=True)
            if isinstance(answer, commands.Quit):
                break
            _show(answer, output, session.sampler.reading.end)
        except OutputError:
            raise
        except ChargenError as error:
            common.warn(str(error))
            refused += 1
    return refused


def _show(answer: Answer, output: Output, end: str | None) -> None:
    from chargen.evaluation.surprisal import by_word
    from chargen.repl import commands

    match answer:
        case commands.Message(text):
            common.warn(text)
        case commands.Heat(tokens):
            common.warn(commands.heat_table(by_word(tokens)))
        case commands.Choice(texts):
            common.warn("\n".join(f"{number}  {text}" for number, text in enumerate(texts, 1)))
        case commands.Edit():
            raise ConfigError("/edit needs a terminal; /save and /load do not")
        case commands.Generation():
            _generate(answer, output, end)


def _generate(answer: Generation, output: Output, end: str | None) -> None:
    """Write a turn on a line of its own, without the character that ends its record."""
    if answer.warning:
        common.warn(answer.warning)
    output.write(answer.line.removeprefix("\n"))
    try:
        for piece in answer.pieces:
            output.write("" if piece == end else piece)
    finally:  # also of a text that could not meet its constraints
        output.write("\n")
