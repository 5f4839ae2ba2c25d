"""Records: the text of one field of JSONL and CSV files, and perhaps a label in another.

A string is the text, and a number is one as it is spelled. Any other value (null, true, a list,
an object) is no text: such a record is skipped and counted. What is not JSON or CSV, or lacks the
field, is an error that names the line. A JSON record may lack the label.
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

Row = tuple[str, str | None]
"""A text, and the value of the field with labels; None or empty where there is none."""


def check_field(sources: list[Source], field: str | None) -> list[str]:
    """Return notes for the user about records and other files that are read without a field.

    Raises:
        CorpusError: a field is given and no source has fields.
    """
    records = [source.name for source in sources if source.kind in KINDS]
    if field is not None and not records:
        raise CorpusError(f"field is {field!r}, but only .jsonl and .csv files have fields")
    if field is None and records:
        return [f"{records[0]!r} is read as plain text; --field NAME extracts a field"]
    others = [source.name for source in sources if source.kind not in KINDS]
    if field is None or not others:
        return []
    more = f" and {len(others) - 1:,} more" if len(others) > 1 else ""
    return [f"no fields in {others[0]!r}{more}: read as a whole"]


def field_rows(
    source: Source, pieces: Iterable[str], field: str, label: str | None, note: Note
) -> Iterator[Row]:
    """Yield the text of a field of each record of a source, with the value of a field for labels.

    Args:
        source: the file, whose kind is one of ``KINDS``.
        pieces: its decoded text.
        field: name of the field, or column.
        label: name of the field with the label, if there is one.
        note: is told at the end how many records were skipped.

    Raises:
        CorpusError: a record is malformed or lacks the field, or no record has the label.
    """
    read = _json_rows if source.kind == ".jsonl" else _csv_rows
    return read(source, _lines(pieces), field, label, note)


def has_field(source: Source, pieces: Iterable[str], field: str) -> bool:
    """Tell whether a source has a field: a table in its header, JSON lines in any of them."""
    lines = _lines(pieces)
    if source.kind == ".csv":
        return field in next(_csv_values(source, lines), (1, list[str]()))[1]
    objects = (_json_object(line) for line in lines if line.strip())
    return any(field in found for found in objects if found)


def _lines(pieces: Iterable[str]) -> Iterator[str]:
    """Yield the lines of a text with their line ends."""
    rest = ""
    for piece in pieces:
        *whole, rest = (rest + piece).split("\n")
        yield from (f"{line}\n" for line in whole)
    if rest:
        yield rest


# -- JSONL --------------------------------------------------------------------------------


def _json_rows(
    source: Source, lines: Iterable[str], field: str, label: str | None, note: Note
) -> Iterator[Row]:
    count, skipped, first = 0, 0, 0
    labelled, record = label is None, dict[str, Any]()
    for number, line in enumerate(lines, 1):
        if line.strip():
            count += 1
            record = _json_object(line) or {}
            if field not in record:
                raise _not_json(source, number, field)
            labelled |= label in record
            if isinstance(text := record[field], str):
                yield text, _json_label(record.get(label)) if label else None
            else:
                skipped, first = skipped + 1, first or number
    if skipped:
        note(
            f"{skipped:,} of {count:,} records of {source.name!r} skipped: field {field!r} is "
            f"no text (the first in line {first:,})"
        )
    if count and not labelled:
        allowed = ", ".join(record)
        raise CorpusError(f"no record of {source.name!r} has a field {label!r}; allowed: {allowed}")


def _json_object(line: str) -> dict[str, Any] | None:
    """Return the object of a line, with its numbers as strings; None if it is none."""
    try:
        record = json.loads(line, parse_int=str, parse_float=str, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _not_json(source: Source, number: int, field: str) -> CorpusError:
    return CorpusError(
        f"{source.name!r} line {number} is not a JSON object with a field {field!r}; "
        "give another --field"
    )


def _json_label(value: Any) -> str | None:
    """Return a value as a label: a text, a number or a truth value as it is spelled."""
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else None


def _no_number(name: str) -> NoReturn:
    raise ValueError(name)  # NaN and Infinity are not JSON


# -- CSV ----------------------------------------------------------------------------------


def _csv_rows(
    source: Source, lines: Iterable[str], field: str, label: str | None, note: Note
) -> Iterator[Row]:
    rows = _csv_values(source, lines)
    _, header = next(rows, (1, []))
    column = _column(source, header, field)
    labels = None if label is None else _column(source, header, label)
    for line, row in rows:
        if len(row) != len(header):
            raise CorpusError(
                f"{source.name!r} line {line} does not fit its {len(header)} columns: it has "
                f'{len(row)}; put a value that has commas in "quotes"'
            )
        yield row[column], None if labels is None else row[labels]


def _column(source: Source, header: list[str], name: str) -> int:
    if header.count(name) != 1:
        names = ", ".join(header)
        has = "has no column" if name not in header else "has more than one column"
        raise CorpusError(f"{source.name!r} {has} {name!r}; allowed: {names}")
    return header.index(name)


def _csv_values(source: Source, lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
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
