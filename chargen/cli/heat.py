"""Command ``chargen heat``: a text coloured by the surprisal of its characters."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chargen.cli import common
from chargen.cli.reading import File, Scoring, given_text, open_sampler, write_lines
from chargen.display.output import visible
from chargen.errors import ChargenError, ConfigError

if TYPE_CHECKING:
    from rich.text import Text

    from chargen.evaluation.surprisal import ScoredToken

Colours = tuple[str, ...]

GUESSES = 5  # per character of a page
LARGEST_PAGE = 250_000  # characters: 12 MB, which opens in seconds; of a million it takes minutes
COLOURS: Colours = (
    "bright_yellow",
    "yellow",
    "bright_red",
    "bright_magenta",
)  # of terminals with 16
WRITER_COLOURS: Colours = (
    *("bright_cyan", "bright_yellow", "bright_green", "bright_magenta"),
    *("cyan", "yellow", "green", "magenta"),
)
LETTERS = ".abcdefgh"  # of no model, and of each
MARKS = (
    "below each character its surprisal in whole bits, 9 for more; - continues a token; "
    "the last one of a line is for the newline"
)


def heat(
    file: File = None,
    model: common.Models = None,
    mix: common.Mix = None,
    label: common.Label = None,
    html: Annotated[
        Path | None,
        typer.Option(help="Write an HTML page with the most likely tokens on hover."),
    ] = None,
    by_model: Annotated[
        bool,
        typer.Option(
            "--by-model", help="With several models: show which of them wrote each character."
        ),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
    encoding: common.Encoding = None,
    device: common.Device = "auto",
    threads: common.Threads = None,
    int8: common.Int8 = False,
) -> None:
    """Show a text coloured by the surprisal of each character."""
    common.check_machine(device, threads)
    if by_model and len(model or []) < 2:
        raise ConfigError("--by-model applies to several models; leave it out, or add -m MODEL")
    _check_page(html, force)
    sampler = open_sampler(model, mix, device, threads, int8, label)
    text = given_text(sampler, file, encoding)
    if html and len(text) > LARGEST_PAGE:
        raise ChargenError(
            f"the text has {len(text):,} characters; a page shows at most {LARGEST_PAGE:,}: "
            "cut the text, or leave out --html"
        )
    quiet, names = sys.stdout.isatty() and not html, _names(model)
    guesses = GUESSES if html else 0
    scoring = Scoring(sampler, text, guesses=guesses, by_model=by_model, quiet=quiet)
    if html:
        _write_page(html, scoring, file, names, by_model)
    else:
        show(scoring, names if by_model else ())
    common.warn(scoring.summary())


def _names(models: list[str] | None) -> list[str]:
    from chargen.storage.runs import find_model, model_name

    paths = map(find_model, models) if models else [find_model(None)]
    return [model_name(path) for path in paths]


# -- the page -----------------------------------------------------------------------------


def _check_page(html: Path | None, force: bool) -> None:
    """Refuse a page that cannot be written, before any work is done for it."""
    if html is None:
        if force:
            raise ConfigError("--force applies to the page of --html; leave it out, or add --html")
        return
    from chargen.storage.files import check_output

    check_output(html, force=force)


def _write_page(
    html: Path, scoring: Scoring, file: str | None, names: list[str], by_model: bool
) -> None:
    from chargen.cli.page import make_page
    from chargen.evaluation.surprisal import ScoredText
    from chargen.storage.files import write_whole

    source = "standard input" if file in (None, "-") else Path(str(file)).name
    title = f"{source}, scored by {' and '.join(names)}"
    page = make_page(ScoredText(tuple(scoring)), title, names if by_model else ())
    write_whole(html, page.encode())
    print(html)


# -- text ---------------------------------------------------------------------------------


def show(tokens: Iterable[ScoredToken], names: Sequence[str] = ()) -> None:
    """Show the text in colours if the terminal has some, else with digits below its lines.

    Args:
        tokens: of the text.
        names: of the models of a mixture, to show which of them wrote each character.
    """
    from chargen.cli.console import stderr, stdout
    from chargen.display.heat import HEAT, WRITERS
    from chargen.display.output import Output

    Output(sys.stdout)  # UTF-8, whatever the locale says
    console = stdout()
    if console.is_terminal and console.color_system and not console.no_color:
        few = WRITER_COLOURS if names else COLOURS
        many = WRITERS if names else tuple(colour for colour, _ in HEAT)
        colours = few if console.color_system == "standard" else many
        for line in _coloured(tokens, colours, bool(names)):
            console.print(line, soft_wrap=True)
        stderr().print(_legend(colours, names))
    else:
        width = console.width if console.is_terminal else sys.maxsize
        write_lines(_with_digits(tokens, width, bool(names)))
        common.warn(_marks(names))


def _step(token: ScoredToken, by_model: bool) -> int:
    from chargen.display.heat import level, writer

    return writer(token.responsibilities) if by_model else level(token.bits_per_char)


def _digit(token: ScoredToken, by_model: bool) -> str:
    return LETTERS[_step(token, True)] if by_model else str(min(9, int(token.bits_per_char)))


def _marks(names: Sequence[str]) -> str:
    """Return what the characters below a line say."""
    from chargen.display.heat import DECIDED

    if not names:
        return MARKS
    letters = ", ".join(f"{a} {name}" for a, name in zip(LETTERS[1:], names, strict=False))
    return f"below each character the model that wrote it: {letters}; . for none with {DECIDED:.0%}"


def _style(step: int, colours: Colours) -> str:
    return f"black on {colours[step - 1]}" if step else ""


def _coloured(tokens: Iterable[ScoredToken], colours: Colours, by_model: bool) -> Iterator[Text]:
    """Yield the lines of a text; a newline is shown if it is coloured."""
    from rich.text import Text

    line = Text()
    for token in tokens:
        step = _step(token, by_model)
        if token.text == "\n":
            line.append("↵" if step else "", _style(step, colours))
            yield line
            line = Text()
        else:
            line.append(visible(token.text), _style(step, colours))
    if line:
        yield line


def _legend(colours: Colours, names: Sequence[str]) -> Text:
    from rich.text import Text

    from chargen.display.heat import legend, writers

    steps = writers(names) if names else legend()
    return Text.assemble(*((label, _style(step, colours)) for step, label in steps))


def _with_digits(tokens: Iterable[ScoredToken], width: int, by_model: bool) -> Iterator[str]:
    """Yield each line of a text, and below it a digit per character; fold at a width."""
    from rich.cells import cell_len

    line, digits, used = "", "", 0
    for character, digit in _characters(tokens, by_model):
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


def _characters(tokens: Iterable[ScoredToken], by_model: bool) -> Iterator[tuple[str, str]]:
    """Yield the characters with their digits; a token of several has one digit."""
    for token in tokens:
        yield token.text[0], _digit(token, by_model)
        for character in token.text[1:]:
            yield character, "-"


def _shown(character: str) -> str:
    """Return what is shown for a character: nothing for a newline, a picture for a tab."""
    special = {"\n": "", "\t": "\u2409"}
    return special.get(character, visible(character))


def _raised(digits: str, digit: str) -> str:
    """Return digits, the last one raised to that of a character without a column of its own."""
    return digits[:-1] + max(digits[-1:], digit) if digits.strip() else digits
