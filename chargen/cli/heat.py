"""``chargen heat``: a text coloured by how much each character score_tokens a model."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chargen.cli import common
from chargen.cli.reading import File, Scoring, given_text, write_lines
from chargen.errors import ChargenError, ConfigError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from chargen.evaluation.surprisal import ScoredToken

Colours = tuple[str, ...]

GUESSES = 5  # shown with each character of a page
LARGEST_PAGE = 250_000  # characters: 12 MB, which opens in seconds; of a million it takes minutes
COLOURS = ("bright_yellow", "yellow", "bright_red", "bright_magenta")  # of terminals with 16
MARKS = (
    "below each character its surprise in whole bits, 9 for more; - goes on with a piece; "
    "the last of a line is that of the newline"
)


def heat(
    file: File = None,
    model: common.Model = None,
    html: Annotated[
        Path | None, typer.Option(help="Write a page that shows the best guesses on hover.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over an existing file.")] = False,
    device: common.Device = "auto",
    threads: common.Threads = None,
    int8: common.Int8 = False,
) -> None:
    """Show a text coloured by how much each character score_tokens a model."""
    common.check_machine(device, threads)
    _check_page(html, force)
    text = given_text(file)
    if html and len(text) > LARGEST_PAGE:
        raise ChargenError(
            f"the text has {len(text):,} characters; a page shows at most {LARGEST_PAGE:,}: "
            "cut the text, or leave out --html"
        )

    from chargen.sampling.sampler import load

    sampler = load(model, device=device, threads=threads, int8=int8)
    weighing = Scoring(
        sampler, text, guesses=GUESSES if html else 0, quiet=sys.stdout.isatty() and not html
    )
    if html:
        _write_page(html, weighing, file, model)
    else:
        _show(weighing)
    common.warn(weighing.words())


# -- a page -------------------------------------------------------------------------------


def _check_page(html: Path | None, force: bool) -> None:
    """Refuse a page that could not be written, before any work is done for it."""
    if html is None:
        if force:
            raise ConfigError("--force is about the page of --html; leave it out, or add --html")
        return
    try:
        possible, exists = html.parent.is_dir() and not html.is_dir(), html.exists()
    except OSError:  # a name too long for one
        possible, exists = False, False
    if not possible:
        raise ChargenError(f"cannot write {str(html)!r}; name a file in a folder that exists")
    if exists and not force:
        raise ChargenError(f"{str(html)!r} exists; name another file, or add --force")


def _write_page(html: Path, weighing: Scoring, file: str | None, model: str | None) -> None:
    from chargen.cli.page import make_page
    from chargen.storage.files import write_whole
    from chargen.storage.runs import find_model, model_name

    name = model_name(find_model(model))
    source = "standard input" if file in (None, "-") else Path(str(file)).name
    page = make_page(list(weighing), title=f"{source} as {name} reads it")
    write_whole(html, page.encode())
    print(html)


# -- a terminal, a pipe -------------------------------------------------------------------


def _show(pieces: Iterable[ScoredToken]) -> None:
    """Show the text in colours where there are any, otherwise with marks below its lines."""
    from chargen.cli.console import stderr, stdout
    from chargen.display.output import Output
    from chargen.evaluation.surprisal import HEAT

    Output(sys.stdout)  # UTF-8, whatever the locale says
    console = stdout()
    if console.is_terminal and console.color_system and not console.no_color:
        colours = COLOURS if console.color_system == "standard" else tuple(c for c, _ in HEAT)
        for line in _coloured(pieces, colours):
            console.print(line, soft_wrap=True)
        stderr().print(_legend(colours))
    else:
        write_lines(_marked(pieces, console))
        common.warn(MARKS)


def _style(level: int, colours: Colours) -> str:
    return f"black on {colours[level - 1]}" if level else ""


def _coloured(pieces: Iterable[ScoredToken], colours: Colours) -> Iterator[Text]:
    """Yield the lines of a text; a newline is seen where it score_tokens."""
    from rich.text import Text

    from chargen.display.output import visible

    line = Text()
    for piece in pieces:
        if piece.text == "\n":
            line.append("↵" if piece.level else "", _style(piece.level, colours))
            yield line
            line = Text()
        else:
            line.append(visible(piece.text), _style(piece.level, colours))
    if line:
        yield line


def _legend(colours: Colours) -> Text:
    from rich.text import Text

    from chargen.evaluation.surprisal import HEAT

    legend = Text()
    for step, (_, bits) in enumerate(HEAT, 1):
        legend.append(f" {bits:.0f} bits ", _style(step, colours))
    return legend.append(" or more a character")


def _marked(pieces: Iterable[ScoredToken], console: Console) -> Iterator[str]:
    """Yield each line of a text and below it a digit a character, folded in a terminal."""
    width = console.width if console.is_terminal else sys.maxsize
    line, marks, used = "", "", 0
    for character, mark in _characters(pieces):
        cells, shown = _cells(character)
        if used + max(cells, 1) > width:
            yield from (line, marks)
            line, marks, used = "", "", 0
        line += shown
        marks = marks + mark.ljust(cells) if cells else _raised(marks, mark)
        used += cells
        if character == "\n":
            yield from (line, marks)
            line, marks, used = "", "", 0
    if line:
        yield from (line, marks)


def _characters(pieces: Iterable[ScoredToken]) -> Iterator[tuple[str, str]]:
    """Yield the characters with their marks; a piece of several has one digit."""
    for piece in pieces:
        digit = str(min(9, int(piece.bits_per_character)))
        yield piece.text[0], digit
        for character in piece.text[1:]:
            yield character, "-"


def _cells(character: str) -> tuple[int, str]:
    """Return the cells of a terminal that a character takes, and what is shown in them."""
    from rich.cells import cell_len

    from chargen.display.output import visible

    if character == "\n":
        return 1, ""
    shown = "\u2409" if character == "\t" else visible(character)
    return cell_len(shown), shown


def _raised(marks: str, mark: str) -> str:
    """Put what score_tokens in a mark without a cell of its own to the character it stands on."""
    return marks[:-1] + max(marks[-1:], mark) if marks.strip() else marks
