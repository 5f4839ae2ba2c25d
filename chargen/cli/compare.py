"""``chargen compare``: runs side by side with their learning curves."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from chargen.cli import common, side_by_side

if TYPE_CHECKING:
    from rich.table import Table

    from chargen.evaluation.comparison import ComparedRun

NAMES = 20  # columns for the names of the rows
COLUMN, WIDEST = 15, 30  # smallest and largest width of a run


def compare(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN", help="Runs, their folders or model files; default: the newest 8."
        ),
    ] = None,
    model: side_by_side.Models = None,
    plot: side_by_side.Plot = None,
    as_json: side_by_side.Json = False,
) -> None:
    """Compare runs: architecture, time, losses and learning curves."""
    from chargen.display.charts import as_text, check_picture, save
    from chargen.evaluation.comparison import learning_curves

    if plot:
        check_picture(plot)
    compared = _compared([*(runs or []), *(model or [])])
    if as_json:
        print(json.dumps(_facts(compared), indent=2))
    else:
        from chargen.display.output import visible

        _show_table(compared)
        print(f"\n{visible(as_text(learning_curves(compared)))}")
    if plot:
        save(learning_curves(compared), plot)


def _compared(names: list[str]) -> list[ComparedRun]:
    """Read the named runs, or by default the newest ones, of which damaged ones are skipped."""
    from chargen.config import require
    from chargen.errors import CheckpointError
    from chargen.evaluation.comparison import MOST, read_run
    from chargen.storage.checkpoint import MODEL
    from chargen.storage.runs import find_model, list_runs

    require(len(names) <= MOST, "number of runs", len(names), f"1 to {MOST}")
    if names:
        return [read_run(find_model(name)) for name in names]
    compared = []
    for run in list_runs()[:MOST]:
        try:
            compared += [read_run(run / MODEL)] if (run / MODEL).is_file() else []
        except CheckpointError as error:
            common.warn(str(error))
    return compared or [read_run(find_model(None))]


def _facts(compared: list[ComparedRun]) -> list[dict[str, object]]:
    from dataclasses import asdict

    from chargen.evaluation.comparison import best_of

    best = best_of(compared)
    return [
        asdict(run) | {"comparable": run.task == compared[0].task, "best": run is best}
        for run in compared
    ]


def _show_table(compared: list[ComparedRun]) -> None:
    """Show one column per run, in several tables if they do not fit side by side."""
    from chargen.cli.console import stdout
    from chargen.display.output import visible
    from chargen.evaluation.comparison import best_of, differences

    console, best = stdout(), best_of(compared)
    fitting = max(1, (console.width - NAMES) // COLUMN)
    for start in range(0, len(compared), fitting):
        if start:
            console.print()
        shown = compared[start : start + fitting]
        width = min(WIDEST, (console.width - NAMES) // len(shown))
        console.print(_table(shown, best, width))
    for note in differences(compared):
        console.print(f"note: {visible(note)}", style="yellow", soft_wrap=True)


def _table(shown: list[ComparedRun], best: ComparedRun | None, width: int) -> Table:
    from rich.table import Table
    from rich.text import Text

    from chargen.display.output import visible

    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(style="cyan", no_wrap=True)
    columns = [_column(run, run is best) for run in shown]
    for run in shown:
        style = "bold" if run is best else ""
        table.add_column(style=style, overflow="fold", max_width=width - 2)
    for name in columns[0]:
        table.add_row(name, *(Text(visible(column[name])) for column in columns))
    return table


def _column(run: ComparedRun, best: bool) -> dict[str, str]:
    """Return the column of a run by the names of the rows."""
    from chargen.cli.console import clock, loss_or_dash

    note = (" best" if best else "") if run.finished else " so far"
    bits, nats = run.bits_per_char, run.nats_per_token
    return {
        "run": f"{run.name} (best)" if best and not run.finished else run.name,
        "stack": run.stack.replace(",", ", "),
        "embedding": str(run.embedding),
        "parameters": f"{run.parameters:,}",
        "tokenizer": f"{run.tokenizer}, {run.vocab_size:,}",
        "text": ", ".join(run.corpus) or "-",
        "steps": "-" if run.steps is None else f"{run.steps:,}",
        "time": "-" if run.seconds is None else clock(run.seconds),
        "bits per character": loss_or_dash(bits) + note * (bits is not None),
        "nats per token": loss_or_dash(nats) + " so far" * (nats is not None and not run.finished),
        "  stateless": loss_or_dash(run.nats_per_token_stateless),
        "  n-gram baseline": loss_or_dash(run.ngram_nats_per_token),
    }
