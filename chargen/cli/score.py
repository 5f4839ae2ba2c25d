"""Command ``chargen score``: log probability of a text per token, or surprisal of its lines."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chargen.cli import common
from chargen.cli.lines import DIGITS, Watch, blocks_of, in_json, line_table, unusual_rows
from chargen.cli.reading import File, Scoring, given_text, open_sampler, write_lines
from chargen.config import require
from chargen.display.output import Output, quoted
from chargen.errors import ConfigError

if TYPE_CHECKING:
    from chargen.evaluation.surprisal import ScoredToken

FOUND = 3  # exit code, if a line reached the threshold
STREAM = "Lines as they come"


def score(
    file: File = None,
    model: common.Models = None,
    mix: common.Mix = None,
    label: common.Label = None,
    per_line: Annotated[
        bool, typer.Option("--per-line", help="Score lines, the highest z-score first.")
    ] = False,
    stream: Annotated[
        bool,
        typer.Option(
            "--stream",
            help="Score each line as it comes, as a text of its own.",
            rich_help_panel=STREAM,
        ),
    ] = False,
    stateful: Annotated[
        bool,
        typer.Option(
            "--stateful",
            help="With --stream: read each line after those before it.",
            rich_help_panel=STREAM,
        ),
    ] = False,
    threshold: Annotated[
        float | None,
        typer.Option(
            help="With --stream: show lines from X bits per character on; exit code 3 if any.",
            rich_help_panel=STREAM,
        ),
    ] = None,
    alert: Annotated[
        str | None,
        typer.Option(
            metavar="COMMAND",
            help="With --threshold: run this for each such line, with its JSON on stdin.",
            rich_help_panel=STREAM,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object per row.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Write CSV with a header.")] = False,
    encoding: common.Encoding = None,
    device: common.Device = "auto",
    threads: common.Threads = None,
    int8: common.Int8 = False,
) -> None:
    """Show the log probability of each character of a text, or find its unusual lines."""
    common.check_machine(device, threads)
    _check(per_line, stream, stateful, threshold, alert)
    if as_json and as_csv:
        raise ConfigError("--json and --csv cannot be combined; leave one out")
    sampler = open_sampler(model, mix, device, threads, int8, label)
    form = "json" if as_json else "csv" if as_csv else "table"
    if stream:
        watch = Watch(sampler, stateful=stateful, threshold=threshold, alert=alert)
        _write_each(_line_forms(watch.rows(blocks_of(sampler, file, encoding)), form, False))
        common.warn(watch.summary())
        raise typer.Exit(FOUND if watch.found else 0)
    text = given_text(sampler, file, encoding)
    quiet, by_model = sys.stdout.isatty() and not per_line, not per_line and form != "table"
    scoring = Scoring(sampler, text, by_model=by_model, quiet=quiet)
    if per_line:
        write_lines(_line_forms(unusual_rows(scoring), form, True))
    else:
        write_lines(_token_forms(scoring, form))
    common.warn(scoring.summary())


def _check(
    per_line: bool, stream: bool, stateful: bool, threshold: float | None, alert: str | None
) -> None:
    """Refuse options without effect."""
    if stream and per_line:
        raise ConfigError("--per-line sorts a whole text, --stream scores as it comes; choose one")
    of_streams = {"--stateful": stateful, "--threshold": threshold is not None, "--alert": alert}
    for name, given in of_streams.items():
        if given and not stream:
            raise ConfigError(f"{name} applies to --stream; leave it out, or add --stream")
    if alert is not None and threshold is None:
        raise ConfigError("--alert applies to the lines of --threshold; leave it out, or add that")
    require(threshold is None or 0 <= threshold < 1e9, "threshold", threshold, "0 or more bits")


def _write_each(lines: Iterable[str]) -> None:
    """Write each line to stdout at once."""
    output = Output(sys.stdout)
    for line in lines:
        output.write(f"{line}\n")


# -- three forms --------------------------------------------------------------------------


def _line_forms(rows: Iterable[dict[str, Any]], form: str, z_scores: bool) -> Iterator[str]:
    return line_table(rows, z_scores) if form == "table" else _data(rows, form)


def _token_forms(tokens: Iterable[ScoredToken], form: str) -> Iterator[str]:
    rows = map(_token_row, tokens)
    return _token_table(rows) if form == "table" else _data(rows, form)


def _data(rows: Iterable[dict[str, Any]], form: str) -> Iterator[str]:
    return (json.dumps(in_json(row)) for row in rows) if form == "json" else _csv(rows)


def _token_row(token: ScoredToken) -> dict[str, Any]:
    """Return the row of a token; one of a mixture says which model wrote it."""
    row = {
        "text": token.text,
        "logprob": round(-token.nats, DIGITS),
        "bits": round(token.bits, DIGITS),
    }
    return row | {
        f"responsibility_{n}": round(r, DIGITS) for n, r in enumerate(token.responsibilities, 1)
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
