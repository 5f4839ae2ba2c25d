"""Command ``chargen demo``: what a model can do, on one screen."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from chargen.cli import common

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from chargen import Model

OPENING = "It was a"
SENTENCE = "The old man looked at the sea, and the computer began to sing."
TEMPERATURE, LENGTH = 0.6, 320
NEXT = (
    ("chargen repl -m english", "a session with ghost text while you type"),
    ("chargen train my.txt", "a model of your own text, begun from this one"),
    ("chargen heat my.txt -m english", "the surprisal of a whole text"),
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

    console, opened = stdout(), load(model or "english")
    _write(console, opened, seed)
    given = sentence or _ask() or SENTENCE
    _complete(console, opened, given)
    _read(console, opened, given)
    _heading(console, "Go on from here")
    for command, words in NEXT:
        console.print(f"  {command:32}{words}")


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
    settings = {"length": LENGTH, "temperature": TEMPERATURE, "seed": seed}
    output.write(OPENING)
    for piece in model.generate(OPENING, **settings):
        output.write(piece)
    output.end()
    speed = LENGTH / (time.perf_counter() - began)
    console.print(f"({speed:,.0f} characters/s on this computer)", style="dim")


def _complete(console: Console, model: Model, sentence: str) -> None:
    """Show how it goes on from the beginnings of a sentence."""
    from rich.text import Text

    from chargen.repl.ghost import Lookahead

    _heading(console, "It completes while you type (Tab takes it)")
    for begun in _beginnings(sentence):
        lookahead = Lookahead(model.sampler, None)
        room = max(1, console.width - len(begun) - 2)
        ghost = lookahead.ghost(begun, min(room, 40), seconds=1.0)
        others = ", ".join(
            f"{words.strip() or words!r} {prob:.0%}"
            for words, prob in lookahead.alternatives(begun, 3)
        )
        console.print(Text.assemble("  ", begun, (ghost, "dim")))
        console.print(Text(f"    likely: {others}", style="dim"))


def _beginnings(sentence: str) -> Iterator[str]:
    """Yield a sentence up to a third and two thirds of its words, the latter within a word."""
    words = sentence.split(" ")
    yield " ".join(words[: max(1, len(words) // 3)]) + " "
    if len(words) > 3:
        yield " ".join(words[: 2 * len(words) // 3])[:-1]


def _read(console: Console, model: Model, sentence: str) -> None:
    """Show the surprisal of a sentence, character by character."""
    from chargen.cli.heat import show

    _heading(console, "It reads: the less it expected a character, the more colour")
    scored = model.score(sentence)
    show(scored)
    console.print(f"({scored.bits_per_char:.2f} bits per character)", style="dim")
