"""Command ``chargen heat``: a text coloured by the surprisal of its characters."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chargen.cli import common
from chargen.cli.reading import File, Scoring, given_text, write_lines
from chargen.display.output import visible
from chargen.errors import ChargenError, ConfigError

if TYPE_CHECKING:
    from rich.text import Text

    from chargen.evaluation.surprisal import ScoredToken

Colours = tuple[str, ...]

GUESSES = 5  # per character of a page
LARGEST_PAGE = 250_000  # characters: 12 MB, which opens in seconds; of a million it takes minutes
COLOURS = ("bright_yellow", "yellow", "bright_red", "bright_magenta")  # of terminals with 16
MARKS = (
    "below each character its surprisal in whole bits, 9 for more; - continues a token; "
    "the last one of a line is for the newline"
)


def heat(
    file: File = None,
    model: common.Model = None,
    html: Annotated[
        Path | None,
        typer.Option(help="Write an HTML page with the most likely tokens on hover."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
    encoding: common.Encoding = None,
    device: common.Device = "auto",
    threads: common.Threads = None,
    int8: common.Int8 = False,
) -> None:
    """Show a text coloured by the surprisal of each character."""
    common.check_machine(device, threads)
    _check_page(html, force)
    from chargen.sampling.sampler import load

    sampler = load(model, device=device, threads=threads, int8=int8)
    text = given_text(sampler, file, encoding)
    if html and len(text) > LARGEST_PAGE:
        raise ChargenError(
            f"the text has {len(text):,} characters; a page shows at most {LARGEST_PAGE:,}: "
            "cut the text, or leave out --html"
        )
    scoring = Scoring(
        sampler, text, guesses=GUESSES if html else 0, quiet=sys.stdout.isatty() and not html
    )
    if html:
        _write_page(html, scoring, file, model)
    else:
        show(scoring)
    common.warn(scoring.summary())


# -- the page -----------------------------------------------------------------------------


def _check_page(html: Path | None, force: bool) -> None:
    """Refuse a page that cannot be written, before any work is done for it."""
    if html is None:
        if force:
            raise ConfigError("--force applies to the page of --html; leave it out, or add --html")
        return
    from chargen.storage.files import check_output

    check_output(html, force=force)


def _write_page(html: Path, scoring: Scoring, file: str | None, model: str | None) -> None:
    from chargen.cli.page import make_page
    from chargen.evaluation.surprisal import ScoredText
    from chargen.storage.files import write_whole
    from chargen.storage.runs import find_model, model_name

    name = model_name(find_model(model))
    source = "standard input" if file in (None, "-") else Path(str(file)).name
    page = make_page(ScoredText(tuple(scoring)), title=f"{source}, scored by {name}")
    write_whole(html, page.encode())
    print(html)


# -- text ---------------------------------------------------------------------------------


def show(tokens: Iterable[ScoredToken]) -> None:
    """Show the text in colours if the terminal has some, else with digits below its lines."""
    from chargen.cli.console import stderr, stdout
    from chargen.display.heat import HEAT
    from chargen.display.output import Output

    Output(sys.stdout)  # UTF-8, whatever the locale says
    console = stdout()
    if console.is_terminal and console.color_system and not console.no_color:
        colours = COLOURS if console.color_system == "standard" else tuple(c for c, _ in HEAT)
        for line in _coloured(tokens, colours):
            console.print(line, soft_wrap=True)
        stderr().print(_legend(colours))
    else:
        write_lines(_with_digits(tokens, console.width if console.is_terminal else sys.maxsize))
        common.warn(MARKS)


def _style(step: int, colours: Colours) -> str:
    return f"black on {colours[step - 1]}" if step else ""


def _coloured(tokens: Iterable[ScoredToken], colours: Colours) -> Iterator[Text]:
    """Yield the lines of a text; a newline is shown if it is coloured."""
    from rich.text import Text

    from chargen.display.heat import level

    line = Text()
    for token in tokens:
        step = level(token.bits_per_char)
        if token.text == "\n":
            line.append("↵" if step else "", _style(step, colours))
            yield line
            line = Text()
        else:
            line.append(visible(token.text), _style(step, colours))
    if line:
        yield line


def _legend(colours: Colours) -> Text:
    from rich.text import Text

    from chargen.display.heat import legend

    return Text.assemble(*((label, _style(step, colours)) for step, label in legend()))


def _with_digits(tokens: Iterable[ScoredToken], width: int) -> Iterator[str]:
    """Yield each line of a text, and below it a digit per character; fold at a width."""
    from rich.cells import cell_len

    line, digits, used = "", "", 0
    for character, digit in _characters(tokens):
        shown = _shown(character)
        cells = 1 if character == "\n" else cell_len(shown)
        if used + max(cells, 1) > width:
            yield from (line, digits)
            line, digits, used = "", "", 0
        line += shown
        digits = digits + digit.ljust(cells) if cells else _raised(digits, digit)
        used += cells
        if character == "\n":
            yield from (line, digits)
            line, digits, used = "", "", 0
    if line:
        yield from (line, digits)


def _characters(tokens: Iterable[ScoredToken]) -> Iterator[tuple[str, str]]:
    """Yield the characters with their digits; a token of several has one digit."""
    for token in tokens:
        yield token.text[0], str(min(9, int(token.bits_per_char)))
        for character in token.text[1:]:
            yield character, "-"


def _shown(character: str) -> str:
    """Return what is shown for a character: nothing for a newline, a picture for a tab."""
    special = {"\n": "", "\t": "\u2409"}
    return special.get(character, visible(character))


def _raised(digits: str, digit: str) -> str:
    """Return digits, the last one raised to that of a character without a column of its own."""
    return digits[:-1] + max(digits[-1:], digit) if digits.strip() else digits
