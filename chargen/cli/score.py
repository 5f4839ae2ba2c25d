"""Command ``chargen score``: log probability of a text, per token or per line."""

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
from chargen.display.output import quoted
from chargen.errors import ConfigError

if TYPE_CHECKING:
    from chargen.evaluation.lines import Line
    from chargen.evaluation.surprisal import ScoredToken

DIGITS = 6  # of a fraction


def score(
    file: File = None,
    model: common.Model = None,
    per_line: Annotated[
        bool, typer.Option("--per-line", help="Score lines, the highest z-score first.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object per row.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Write CSV with a header.")] = False,
    encoding: common.Encoding = None,
    device: common.Device = "auto",
    threads: common.Threads = None,
    int8: common.Int8 = False,
) -> None:
    """Show the log probability of each character of a text, or find its unusual lines."""
    common.check_machine(device, threads)
    if as_json and as_csv:
        raise ConfigError("--json and --csv cannot be combined; leave one out")
    from chargen.sampling.sampler import load

    sampler = load(model, device=device, threads=threads, int8=int8)
    text = given_text(sampler, file, encoding)
    scoring = Scoring(sampler, text, quiet=sys.stdout.isatty() and not per_line)
    rows = _line_rows(scoring) if per_line else map(_token_row, scoring)
    if as_json:
        write_lines(json.dumps(_in_json(row)) for row in rows)
    elif as_csv:
        write_lines(_csv(rows))
    else:
        write_lines(_line_table(rows) if per_line else _token_table(rows))
    common.warn(scoring.summary())


def _token_row(token: ScoredToken) -> dict[str, Any]:
    return {
        "text": token.text,
        "logprob": round(-token.nats, DIGITS),
        "bits": round(token.bits, DIGITS),
    }


def _in_json(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with its text in Unicode and in bytes, which may not be UTF-8."""
    from chargen.tokenizers.byte import bytes_of, replaced

    return row | {"text": replaced(row["text"]), "bytes": list(bytes_of(row["text"]))}


def _line_rows(tokens: Iterable[ScoredToken]) -> list[dict[str, Any]]:
    """Return the lines of a text, the highest z-score first."""
    from chargen.evaluation.lines import by_line

    return [_line_row(line) for line in sorted(by_line(tokens), key=lambda line: -line.z_score)]


def _line_row(line: Line) -> dict[str, Any]:
    return {
        "line": line.number,
        "z_score": round(line.z_score, DIGITS),
        "bits_per_char": round(line.bits_per_char, DIGITS),
        "bits": round(line.bits, DIGITS),
        "characters": line.characters,
        "text": line.text,
    }


def _csv(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of a table with its texts in quotes; newlines are kept."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, quoting=csv.QUOTE_NONNUMERIC, lineterminator="")
    for number, row in enumerate(rows):
        for values in (row.keys(), row.values()) if number == 0 else (row.values(),):
            writer.writerow(values)
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()


def _token_table(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    yield "  logprob     bits  text"
    for row in rows:
        yield f"{row['logprob']:9.4f} {row['bits']:8.4f}  {quoted(row['text'])}"


def _line_table(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Yield a row per line of the text, cut at the width of a terminal."""
    from rich.text import Text

    from chargen.cli.console import stdout
    from chargen.display.output import visible

    console = stdout()
    yield "z-score  bits/char    line  text"
    for row in rows:
        numbers = f"{row['z_score']:7.2f} {row['bits_per_char']:10.4f} {row['line']:7}  "
        words = Text(numbers + row["text"])
        if console.is_terminal:
            words = Text(visible(words.plain).expandtabs())
            words.truncate(console.width, overflow="ellipsis")
        yield words.plain
