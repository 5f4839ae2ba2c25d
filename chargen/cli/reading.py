"""Input of the commands that read a text: files, standard input, prompts, scoring."""

from __future__ import annotations

import itertools
import math
import os
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from chargen.cli import common
from chargen.cli.options import as_text
from chargen.config import unescape
from chargen.errors import ConfigError

if TYPE_CHECKING:
    from chargen.evaluation.surprisal import ScoredToken
    from chargen.sampling.sampler import DecodeState, Sampler

LONG_TEXT = 5000  # characters from which progress is shown
PROGRESS = 500  # characters between two updates of the bar
LINES = 256  # written at once

File = Annotated[
    str | None, typer.Argument(metavar="FILE", help="The text; - or none is standard input.")
]
Prompt = Annotated[
    str, typer.Option("-p", "--prompt", help=r"Prompt to continue; \n is a newline.")
]
PromptFile = Annotated[
    str | None,
    typer.Option("-f", "--file", metavar="FILE", help="File with the prompt; - is stdin."),
]


# -- models -------------------------------------------------------------------------------


def open_sampler(
    models: list[str] | None,
    mix: str | None,
    device: str,
    threads: int | None,
    int8: bool,
    label: str | None = None,
) -> Sampler:
    """Load a model, or several as one, for texts with a label, if one is given.

    Raises:
        ConfigError: the weights are no numbers, or the model does not have the label; see
            ``load_mixed`` for other errors.
    """
    from chargen.sampling.mixing import load_mixed

    weights = None if mix is None else _weights(mix)
    sampler = load_mixed(models, weights, device=device, threads=threads, int8=int8)
    return sampler if label is None else sampler.labelled(as_text(label))


def _weights(mix: str) -> list[float]:
    try:
        return [float(weight) for weight in mix.split(",")]
    except ValueError:
        allowed = "numbers with commas between, such as 0.7,0.3"
        raise ConfigError(f"mix is {mix!r}; allowed: {allowed}") from None


# -- prompts ------------------------------------------------------------------------------


def prompt_text(
    sampler: Sampler, prompt: str, file: str | None, encoding: str | None = None
) -> str:
    """Return the prompt, given as text or as a file, read as the corpus of the model was.

    Raises:
        ConfigError: both are given, or an encoding without a file; the text has an unknown
            escape or the end of a record, or is not UTF-8 and the model is not one of bytes.
        CorpusError: the file cannot be read.
    """
    if file is None and encoding is not None:
        raise ConfigError("--encoding applies to the file of --file; leave it out, or add --file")
    from chargen.sampling.records import as_prompt

    if file is None:
        from chargen.tokenizers.byte import text_of

        by_bytes = sampler.reading.tokenizer == "byte"
        typed = text_of(os.fsencode(prompt)) if by_bytes else as_text(prompt)
        return as_prompt(unescape("prompt", typed, "; -f takes a file as it is"), sampler.reading)
    if prompt:
        raise ConfigError("--prompt and --file cannot be combined; leave one out")
    text = _contents(sampler, file, encoding, least=0)
    if sampler.reading.end == "\n":  # at the end of a file it does not end a record
        text = text.removesuffix("\n")
    return as_prompt(text, sampler.reading)


def _contents(sampler: Sampler, file: str, encoding: str | None, least: int = 1) -> str:
    """Return a file or standard input as every command reads it, and show notes about it."""
    from chargen.data.dataset import read_like

    text = read_like(sampler.reading, file, encoding, least)
    for note in text.notes:
        common.warn(note)
    return text.whole()


def read_prompt(sampler: Sampler, prompt: str) -> DecodeState:
    """Read a prompt, with a progress bar in a terminal if it is long."""
    warn_of_unknown(sampler, prompt)
    if len(prompt) < LONG_TEXT:
        return sampler.read(prompt)
    from chargen.cli.console import Meter

    with Meter("reading the prompt", len(prompt)) as progress:
        return sampler.read(prompt, progress=progress)


def warn_of_unknown(sampler: Sampler, text: str) -> bool:
    """Warn of the unknown characters of a text, and tell whether there are any."""
    from chargen.display.output import unknown_note

    note = unknown_note(sampler.tokenizer, text)
    if note:
        common.warn(note)
    return note is not None


# -- scoring ------------------------------------------------------------------------------


def given_text(sampler: Sampler, file: str | None, encoding: str | None) -> str:
    """Return the text of a file or of standard input, read as the corpus of the model was.

    Raises:
        ConfigError: no file is named and standard input is a terminal.
        CorpusError: the text cannot be read, or is empty.
    """
    need_text(file)
    return _contents(sampler, "-" if file is None else file, encoding)


def need_text(file: str | None) -> None:
    """Refuse a command that would wait at a terminal for a text.

    Raises:
        ConfigError: no file is named and standard input is a terminal.
    """
    if file is None and sys.stdin.isatty():
        raise ConfigError("no text given; name its file, or pipe it in: ... | chargen COMMAND")


class Scoring:
    """An iterator of the scored tokens of a text, with a progress bar in a terminal.

    Args:
        sampler: the model.
        text: not empty.
        guesses: number of the most likely tokens that come with each token.
        by_model: add which model of a mixture wrote each token; see ``with_responsibilities``.
        quiet: show no bar, because the same terminal shows the tokens as they come.

    Attributes:
        bits: surprisal of all tokens so far.
    """

    def __init__(
        self,
        sampler: Sampler,
        text: str,
        *,
        guesses: int = 0,
        by_model: bool = False,
        quiet: bool = False,
    ) -> None:
        warn_of_unknown(sampler, text)
        self._sampler, self._text, self._guesses, self._by_model = sampler, text, guesses, by_model
        self._bar = not quiet and len(text) >= LONG_TEXT
        self.bits = 0.0

    def __iter__(self) -> Iterator[ScoredToken]:
        from chargen.evaluation.surprisal import score_tokens, with_responsibilities

        tokens = score_tokens(self._sampler, self._text, guesses=self._guesses)
        if self._by_model:
            tokens = with_responsibilities(self._sampler, self._text, tokens)
        for token in self._with_bar(tokens):
            self.bits += token.bits
            yield token

    def _with_bar(self, tokens: Iterator[ScoredToken]) -> Iterator[ScoredToken]:
        if not self._bar:
            yield from tokens
            return
        from chargen.cli.console import Meter

        read, shown = 0, 0
        with Meter("scoring", len(self._text)) as progress:
            for token in tokens:
                yield token
                read += len(token.text)
                if read - shown >= PROGRESS:
                    progress(shown := read)

    def summary(self) -> str:
        """Return the mean surprisal of the text, once it is scored."""
        count = len(self._text)
        bits = self.bits / count
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
