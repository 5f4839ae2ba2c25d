"""``chargen compare``: runs side by side, and how they learned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chargen.cli import common

if TYPE_CHECKING:
    from rich.table import Table

    from chargen.evaluation.comparison import Entry

NAMES = 20  # columns of the names of the rows
COLUMN, WIDEST = 15, 30  # columns of a run: so many at least, and at most


def compare(
    runs: Annotated[
        list[str] | None,
        typer.Argument(help="Runs' names, folders or files; default: the newest, up to eight."),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Write the learning curves as a picture, .png or .svg.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON array.")] = False,
) -> None:
    """Compare runs: size, time, losses, learning curves."""
    from chargen.display.charts import as_text, check_picture, save
    from chargen.evaluation.comparison import learning_curves

    if plot:
        check_picture(plot)
    entries = _entries(runs or [])
    if as_json:
        print(json.dumps(_numbers(entries), indent=2))
    else:
        from chargen.display.output import visible

        _show_table(entries)
        print(f"\n{visible(as_text(learning_curves(entries)))}")
    if plot:
        save(learning_curves(entries), plot)


def _entries(names: list[str]) -> list[Entry]:
    """Return the runs of these names, or the newest; of those a damaged one is passed over."""
    from chargen.config import require
    from chargen.errors import CheckpointError
    from chargen.evaluation.comparison import MOST, read_entry
    from chargen.storage.checkpoint import MODEL
    from chargen.storage.runs import find_model, list_runs

    require(len(names) <= MOST, "number of runs", len(names), f"1 to {MOST}")
    if names:
        return [read_entry(find_model(name)) for name in names]
    entries = []
    for run in list_runs()[:MOST]:
        try:
            entries += [read_entry(run / MODEL)] if (run / MODEL).is_file() else []
        except CheckpointError as error:
            common.warn(str(error))
    return entries or [read_entry(find_model(None))]


def _numbers(entries: list[Entry]) -> list[dict[str, object]]:
    from dataclasses import asdict

    from chargen.evaluation.comparison import best_of

    best = best_of(entries)
    return [
        asdict(entry) | {"comparable": entry.task == entries[0].task, "best": entry is best}
        for entry in entries
    ]


def _show_table(entries: list[Entry]) -> None:
    """Show a column a run, as many side by side as fit."""
    from chargen.cli.console import stdout
    from chargen.display.output import visible
    from chargen.evaluation.comparison import best_of, differences

    console, best = stdout(), best_of(entries)
    fitting = max(1, (console.width - NAMES) // COLUMN)
    for start in range(0, len(entries), fitting):
        if start:
            console.print()
        shown = entries[start : start + fitting]
        width = min(WIDEST, (console.width - NAMES) // len(shown))
        console.print(_table(shown, best, width))
    for note in differences(entries):
        console.print(f"note: {visible(note)}", style="yellow", soft_wrap=True)


def _table(entries: list[Entry], best: Entry | None, width: int) -> Table:
    from rich.table import Table
    from rich.text import Text

    from chargen.display.output import visible

    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(style="cyan", no_wrap=True)
    columns = [_column(entry, entry is best) for entry in entries]
    for entry in entries:
        style = "bold" if entry is best else ""
        table.add_column(style=style, overflow="fold", max_width=width - 2)
    for name in columns[0]:
        table.add_row(name, *(Text(visible(column[name])) for column in columns))
    return table


def _column(entry: Entry, best: bool) -> dict[str, str]:
    """Return what the table says of a run, by the names of its rows."""
    from chargen.cli.console import clock

    mark = (" best" if best else "") if entry.finished else " so far"
    fresh = entry.nats_per_token_fresh_windows
    return {
        "run": f"{entry.run} (best)" if best and not entry.finished else entry.run,
        "stack": entry.stack.replace(",", ", "),
        "embedding": str(entry.embedding),
        "parameters": f"{entry.parameters:,}",
        "tokenizer": f"{entry.tokenizer}, {entry.vocab_size:,}",
        "text": ", ".join(entry.corpus) or "-",
        "steps": "-" if entry.steps is None else f"{entry.steps:,}",
        "time": "-" if entry.seconds is None else clock(entry.seconds),
        "bits per character": _loss(entry.bits_per_char, mark),
        "nats per token": _loss(entry.nats_per_token, "" if entry.finished else mark),
        "  fresh windows": _loss(fresh),
        "  by counting": _loss(entry.floor_nats_per_token),
    }


def _loss(value: float | None, mark: str = "") -> str:
    return "-" if value is None else f"{value:.4f}{mark}"
