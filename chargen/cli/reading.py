"""What the commands that read a text share: where it comes from, prompts, weighing it."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chargen.cli import common
from chargen.cli.options import as_text
from chargen.errors import ConfigError, CorpusError
from chargen.storage.files import read_small_text, small_text

if TYPE_CHECKING:
    from chargen.evaluation.surprisal import ScoredToken
    from chargen.sampling.sampler import DecodeState, Sampler

LONG = 5000  # characters, from which on a bar shows how far a text was read
TOLD = 500  # characters between two movements of the bar
LINES = 256  # written at once

File = Annotated[str | None, typer.Argument(help="The text; - or none is standard input.")]
Prompt = Annotated[str, typer.Option("-p", "--prompt", help="Text to go on from.")]
PromptFile = Annotated[
    str | None, typer.Option("-f", "--file", help="File with the text to go on from; - is stdin.")
]


# -- prompts ------------------------------------------------------------------------------


def prompt_text(prompt: str, file: str | None) -> str:
    """Return the text to go on from."""
    if file is None:
        return as_text(prompt)
    if prompt:
        raise ConfigError("--prompt and --file both say where to go on from; leave one out")
    return _contents(file)


def _contents(file: str) -> str:
    if file == "-":
        return small_text("standard input", sys.stdin.buffer.read())
    return read_small_text(Path(file))


def read_prompt(sampler: Sampler, prompt: str) -> DecodeState:
    """Read the prompt, with a bar in a terminal if that takes its time."""
    warn_of_unknown(sampler, prompt)
    if len(prompt) < LONG:
        return sampler.read(prompt)
    from chargen.cli.console import Meter

    with Meter("reading the prompt", len(prompt)) as progress:
        return sampler.read(prompt, progress=progress)


def warn_of_unknown(sampler: Sampler, text: str) -> None:
    """Tell the user which characters of a text the model never saw."""
    from chargen.sampling.sampler import unknown_note

    if unseen := unknown_note(sampler.tokenizer, text):
        common.warn(unseen)


# -- texts to be weighed ------------------------------------------------------------------


def given_text(file: str | None) -> str:
    """Return the text of a file or of standard input.

    Raises:
        ConfigError: no file is named and nobody but a person could write on standard input.
        CorpusError: it cannot be read, or is empty.
    """
    if file is None and sys.stdin.isatty():
        raise ConfigError("there is no text; name its file, or pipe it in: ... | chargen COMMAND")
    text = _contents(file or "-")
    if not text:
        name = "standard input" if file in (None, "-") else repr(file)
        raise CorpusError(f"{name} is empty; give a text of at least one character")
    return text


class Scoring:
    """Weighs a text, once, with a bar in a terminal; knows the sum at the end.

    Args:
        sampler: the model.
        text: not empty.
        guesses: how many of the likeliest tokens come with each piece.
        quiet: show no bar, because the same terminal shows the pieces as they come.

    Attributes:
        bits: surprise of all pieces so far.
    """

    def __init__(
        self, sampler: Sampler, text: str, *, guesses: int = 0, quiet: bool = False
    ) -> None:
        warn_of_unknown(sampler, text)
        self._sampler, self._text, self._guesses = sampler, text, guesses
        self._bar = not quiet and len(text) >= LONG
        self.bits = 0.0

    def __iter__(self) -> Iterator[ScoredToken]:
        from chargen.evaluation.surprisal import score_tokens

        for piece in self._metered(score_tokens(self._sampler, self._text, guesses=self._guesses)):
            self.bits += piece.bits
            yield piece

    def _metered(self, pieces: Iterator[ScoredToken]) -> Iterator[ScoredToken]:
        if not self._bar:
            yield from pieces
            return
        from chargen.cli.console import Meter

        read, told = 0, 0
        with Meter("weighing", len(self._text)) as progress:
            for piece in pieces:
                yield piece
                read += len(piece.text)
                if read - told >= TOLD:
                    progress(told := read)

    @property
    def bits_per_character(self) -> float:
        """Mean surprise of a character of the text, once it was weighed."""
        return self.bits / len(self._text)

    def words(self) -> str:
        """Return how well the model knows the text, once it was weighed."""
        bits, count = self.bits_per_character, len(self._text)
        return (
            f"{count:,} character{'s' * (count > 1)}, {bits * math.log(2):.4f} nats and "
            f"{bits:.4f} bits per character"
        )


def write_lines(lines: Iterable[str]) -> None:
    """Write lines to stdout, many at once, as they become known."""
    from chargen.display.output import Output

    output, rest = Output(sys.stdout), iter(lines)
    while block := list(itertools.islice(rest, LINES)):
        output.write("".join(f"{line}\n" for line in block))
