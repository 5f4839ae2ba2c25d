"""Command ``chargen demo``: what a model can do, on one screen."""

from __future__ import annotations

import shlex
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from chargen.cli import common

if TYPE_CHECKING:
    from rich.console import Console

    from chargen import Model

BASE = "english"
OPENING = "It was"
SENTENCE = "The old gentleman looked at the fire, and the computer began to sing."
TEMPERATURE, LENGTH = 0.6, 320
NEXT = (
    ("chargen repl -m {}", "a session with ghost text while you type"),
    ("chargen train my.txt", "a model of your own text"),
    ("chargen heat my.txt -m {}", "the surprisal of a whole text"),
    ("chargen --help", "everything else"),
)


def demo(
    sentence: Annotated[
        str | None, typer.Argument(metavar="SENTENCE", help="A sentence of your own.")
    ] = None,
    model: common.Model = None,
    seed: Annotated[int, typer.Option(help="Random seed of the text.")] = 1,
) -> None:
    """Show on one screen what a model can do: write, complete, read."""
    from chargen import load
    from chargen.cli.console import stdout

    console, opened = stdout(), load(model or BASE)
    _write(console, opened, seed)
    given = sentence or _ask() or SENTENCE
    _complete(console, opened, given)
    _read(console, opened, given)
    _heading(console, "Go on from here")
    for command, words in NEXT:
        console.print(f"  {command.format(shlex.quote(model or BASE)):32}  {words}")


def _ask() -> str:
    """Ask for a sentence where somebody sits at a terminal."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return ""
    try:
        return input("\nNow a sentence of yours (Enter takes one of ours): ").strip()
    except EOFError:
        return ""


def _heading(console: Console, words: str) -> None:
    console.print(f"\n{words}", style="bold")


def _write(console: Console, model: Model, seed: int) -> None:
    """Let the model write, and say how fast it was."""
    from chargen.display.output import Output

    _heading(console, f"It writes (temperature {TEMPERATURE})")
    output, began = Output(sys.stdout), time.perf_counter()
    output.write(OPENING)
    for piece in model.generate(OPENING, length=LENGTH, temperature=TEMPERATURE, seed=seed):
        output.write(piece)
    output.write(" ...")
    output.end()
    common.warn(f"{speed(began):,.0f} characters per second on this computer")


def speed(began: float) -> float:
    """Return the characters per second since the clock (``time.perf_counter``) was read."""
    return LENGTH / (time.perf_counter() - began)


def _complete(console: Console, model: Model, sentence: str) -> None:
    """Show how it goes on from the beginnings of a sentence."""
    from rich.text import Text

    from chargen.display.output import visible
    from chargen.sampling.ghost import Lookahead

    _heading(console, "It completes while you type (grey; Tab takes it)")
    for part in (0.3, 0.6, 0.9):
        begun = sentence[: max(1, round(part * len(sentence)))]
        lookahead = Lookahead(model.sampler, None)
        ghost = lookahead.ghost(begun, max(1, console.width - len(begun) - 4), seconds=1.0)
        likely = ", ".join(
            f"{words!r} {prob:.0%}" for words, prob in lookahead.alternatives(begun, 3)
        )
        console.print(Text.assemble("  ", visible(begun), (visible(ghost), "bright_black")))
        console.print(Text(f"    or: {likely}", style="dim"))


def _read(console: Console, model: Model, sentence: str) -> None:
    """Show the surprisal of a sentence, character by character."""
    from chargen.cli.heat import show

    _heading(console, "It reads: the less it expected a character, the more colour")
    scored = model.score(sentence)
    show(scored.tokens)
    common.warn(f"{scored.bits_per_char:.2f} bits per character")
