"""Options, texts, tables and JSON of the commands that show or compare models."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from chargen.cli import common
from chargen.cli.corpus import fetch_missing
from chargen.errors import ConfigError

if TYPE_CHECKING:
    from chargen.data.dataset import Segment
    from chargen.model.saved import SavedModel

MOST_CURVES = 8  # in a chart

File = Annotated[
    str | None,
    typer.Argument(metavar="TEXT", help="Text to read; default: the model's held-out text."),
]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "-m",
        "--model",
        metavar="MODEL",
        help="Run, its folder or a model file, repeatable; default: newest.",
    ),
]
Plot = Annotated[
    Path | None, typer.Option(help="Also draw a picture to this file, .png, .svg or .pdf.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def check_encoding(text: str | None, encoding: str | None) -> None:
    """Refuse the encoding of no text: a model's own text is read as it was learned."""
    if encoding is not None and text is None:
        raise ConfigError("--encoding is that of a text; name a text, or leave --encoding out")


def measured_models(
    models: list[str] | None, text: str | None, encoding: str | None
) -> Iterator[tuple[SavedModel, Segment]]:
    """Yield the models and for each one the text to measure it on.

    Raises:
        ConfigError: there are more models than fit in a chart, or an encoding without a text.
    """
    check_encoding(text, encoding)
    if models and len(models) > MOST_CURVES:
        raise ConfigError(f"{len(models)} models are named; allowed: up to {MOST_CURVES}")
    from chargen.evaluation.heldout import text_to_score
    from chargen.model.saved import open_model

    if text is not None:
        fetch_missing([text])
    names: list[str | None] = [*models] if models else [None]
    told: set[str] = set()  # models that read a text alike have the same notes
    for saved in [open_model(name) for name in names]:
        segment = text_to_score(saved, text, encoding)
        for note in segment.notes:
            if note not in told:
                common.warn(note)
        told.update(segment.notes)
        yield saved, segment


def print_table(
    names: Sequence[str], rows: Sequence[tuple[str, ...]], words: int = 1, gap: int = 2
) -> None:
    """Print a table with left-aligned words and right-aligned numbers.

    Args:
        names: names of the columns.
        rows: cells of each row.
        words: number of columns with words, which come first.
        gap: spaces between two columns.
    """
    from rich.table import Table
    from rich.text import Text

    from chargen.cli.console import stdout
    from chargen.display.output import visible

    table = Table(box=None, padding=(0, gap, 0, 0), pad_edge=False)
    for column, name in enumerate(names):
        side: Literal["left", "right"] = "left" if column < words else "right"
        table.add_column(Text(visible(name)), justify=side, overflow="fold")
    for row in rows:
        table.add_row(*(Text(visible(cell)) for cell in row))
    stdout().print(table)


def write_json(facts: dict[str, Any]) -> None:
    """Print one JSON object."""
    print(json.dumps(_finite(facts), indent=2))


def _finite(value: Any) -> Any:
    """Return the data with None for every number that JSON cannot represent."""
    match value:
        case dict():
            return {name: _finite(part) for name, part in value.items()}
        case list() | tuple():
            return [_finite(part) for part in value]
        case float() if not math.isfinite(value):
            return None
    return value
