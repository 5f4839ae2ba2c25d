"""Records: the text of one field of JSONL and CSV files.

A string is the text, and a number is one as it is spelled. Any other value (null, true, a list,
an object) is no text: such a record is skipped and counted. What is not JSON or CSV, or lacks the
field, is an error that names the line.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn

from chargen.data.sources import Source
from chargen.errors import CorpusError

KINDS = (".jsonl", ".csv")
LONGEST_FIELD = 1 << 30  # characters

Note = Callable[[str], None]
"""Takes a sentence for the user."""


def check_field(sources: list[Source], field: str | None) -> list[str]:
    """Return notes for the user about records that are read without a field.

    Raises:
        CorpusError: a field is given and no source has fields.
    """
    records = [source.name for source in sources if source.kind in KINDS]
    if field is not None and not records:
        raise CorpusError(f"field is {field!r}, but only .jsonl and .csv files have fields")
    if field is None and records:
        return [f"{records[0]!r} is read as plain text; --field NAME extracts a field"]
    return []


def field_texts(source: Source, pieces: Iterable[str], field: str, note: Note) -> Iterator[str]:
    """Yield the text of a field of each record of a source.

    Args:
        source: the file, whose kind is one of ``KINDS``.
        pieces: its decoded text.
        field: name of the field, or column.
        note: is told at the end how many records were skipped.

    Raises:
        CorpusError: a record is malformed or lacks the field.
    """
    read = _json_fields if source.kind == ".jsonl" else _csv_fields
    return read(source, _lines(pieces), field, note)


def _lines(pieces: Iterable[str]) -> Iterator[str]:
    """Yield the lines of a text with their line ends."""
    rest = ""
    for piece in pieces:
        *whole, rest = (rest + piece).split("\n")
        yield from (f"{line}\n" for line in whole)
    if rest:
        yield rest


# -- JSONL --------------------------------------------------------------------------------


def _json_fields(source: Source, lines: Iterable[str], field: str, note: Note) -> Iterator[str]:
    count, skipped, first = 0, 0, 0
    for number, line in enumerate(lines, 1):
        if line.strip():
            count += 1
            value = _json_value(source, number, line, field)
            if isinstance(value, str):
                yield value
            else:
                skipped, first = skipped + 1, first or number
    if skipped:
        note(
            f"{skipped:,} of {count:,} records of {source.name!r} skipped: field {field!r} is "
            f"no text (the first in line {first:,})"
        )


def _json_value(source: Source, number: int, line: str, field: str) -> Any:
    """Return the value of a field; numbers are strings, as they are spelled."""
    try:
        record = json.loads(line, parse_int=str, parse_float=str, parse_constant=_no_number)
        if not isinstance(record, dict):
            raise TypeError
        return record[field]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise CorpusError(
            f"{source.name!r} line {number} is not a JSON object with a field {field!r}; "
            "give another --field"
        ) from None


def _no_number(name: str) -> NoReturn:
    raise ValueError(name)  # NaN and Infinity are not JSON


# -- CSV ----------------------------------------------------------------------------------


def _csv_fields(source: Source, lines: Iterable[str], field: str, note: Note) -> Iterator[str]:
    rows = _csv_rows(source, lines)
    _, header = next(rows, (1, []))
    if header.count(field) != 1:
        names = ", ".join(header)
        has = "has no column" if field not in header else "has more than one column"
        raise CorpusError(f"{source.name!r} {has} {field!r}; allowed: {names}")
    column = header.index(field)
    for line, row in rows:
        if len(row) != len(header):
            raise CorpusError(
                f"{source.name!r} line {line} does not fit its {len(header)} columns: it has "
                f'{len(row)}; put a value that has commas in "quotes"'
            )
        yield row[column]


def _csv_rows(source: Source, lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield the line in which a row begins and its values; blank lines are no rows."""
    csv.field_size_limit(LONGEST_FIELD)
    reader = csv.reader(lines, strict=True)
    begins = 1
    try:
        for row in reader:
            if row:
                yield begins, row
            begins = reader.line_num + 1
    except csv.Error as error:
        why = str(error).partition(" - ")[0]  # behind it is advice for programmers
        quote = "; is a quote not closed?" if "end of data" in why else ""
        raise CorpusError(f"{source.name!r} is not CSV in line {begins}: {why}{quote}") from None
