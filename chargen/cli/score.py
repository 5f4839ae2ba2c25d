"""``chargen score``: how probable a text is, piece by piece or line by line."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chargen.cli import common
from chargen.cli.reading import File, Scoring, given_text, write_lines
from chargen.errors import ConfigError

if TYPE_CHECKING:
    from chargen.evaluation.surprisal import Line, ScoredToken

DIGITS = 6  # of a fraction


def score(
    file: File = None,
    model: common.Model = None,
    per_line: Annotated[
        bool, typer.Option("--per-line", help="Score lines and sort them, the oddest first.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write a JSON object a row.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Write CSV with a header.")] = False,
    device: common.Device = "auto",
    threads: common.Threads = None,
    int8: common.Int8 = False,
) -> None:
    """Show how probable each character of a text is to a model, or which lines are odd."""
    common.check_machine(device, threads)
    if as_json and as_csv:
        raise ConfigError("--json and --csv are two forms; leave one out")
    text = given_text(file)

    from chargen.sampling.sampler import load

    sampler = load(model, device=device, threads=threads, int8=int8)
    weighing = Scoring(sampler, text, quiet=sys.stdout.isatty() and not per_line)
    rows = _line_rows(weighing) if per_line else map(_piece_row, weighing)
    if as_json:
        write_lines(map(json.dumps, rows))
    elif as_csv:
        write_lines(_csv(rows))
    else:
        write_lines(_line_table(rows) if per_line else _piece_table(rows))
    common.warn(weighing.words())


def _piece_row(piece: ScoredToken) -> dict[str, Any]:
    return {
        "text": piece.text,
        "logprob": round(-piece.nats, DIGITS),
        "bits": round(piece.bits, DIGITS),
    }


def _line_rows(pieces: Iterable[ScoredToken]) -> list[dict[str, Any]]:
    """Return the lines of a text, the oddest first."""
    from chargen.evaluation.surprisal import by_line

    return [_line_row(line) for line in sorted(by_line(pieces), key=lambda line: -line.z_score)]


def _line_row(line: Line) -> dict[str, Any]:
    return {
        "line": line.number,
        "z_score": round(line.z_score, DIGITS),
        "bits_per_char": round(line.bits_per_character, DIGITS),
        "bits": round(line.bits, DIGITS),
        "characters": line.characters,
        "text": line.text,
    }


def _csv(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of a table whose texts stand in quotes, newlines and all."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, quoting=csv.QUOTE_NONNUMERIC, lineterminator="")
    for number, row in enumerate(rows):
        for values in (row.keys(), row.values()) if number == 0 else (row.values(),):
            writer.writerow(values)
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()


def _piece_table(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    yield "  logprob     bits  text"
    for row in rows:
        yield f"{row['logprob']:9.4f} {row['bits']:8.4f}  {row['text']!r}"


def _line_table(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Yield a line a line of the text, cut at the width of a terminal."""
    from rich.text import Text

    from chargen.cli.console import stdout
    from chargen.display.output import visible

    console = stdout()
    yield "z_score  bits/char    line  text"
    for row in rows:
        numbers = f"{row['z_score']:7.2f} {row['bits_per_char']:10.4f} {row['line']:7}  "
        words = Text(numbers + row["text"])
        if console.is_terminal:
            words = Text(visible(words.plain).expandtabs())
            words.truncate(console.width, overflow="ellipsis")
        yield words.plain
