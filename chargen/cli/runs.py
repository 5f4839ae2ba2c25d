"""``chargen runs``: list of the runs, the newest first."""

from __future__ import annotations

from collections.abc import Sized
from pathlib import Path

from chargen.cli import common

COLUMNS = ("run", "stack", "labels", "steps", "val nats", "state")
Row = tuple[str, str, str, str, str, str]


def runs() -> None:
    """List the runs, the newest first."""
    from rich.table import Table
    from rich.text import Text

    from chargen.cli.console import stdout
    from chargen.storage.files import runs_folder
    from chargen.storage.runs import list_runs

    found = list_runs()
    if not found:
        common.warn(f"no runs in {str(runs_folder())!r}; begin one: chargen train builtin:pydoc")
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in COLUMNS:
        table.add_column(column, style="bold" if column == "run" else "", overflow="fold")
    for run in found:
        table.add_row(*(Text(cell) for cell in _row(run)))
    stdout().print(table)


def _row(run: Path) -> Row:
    from chargen.errors import CheckpointError
    from chargen.storage.checkpoint import read_resume_header
    from chargen.storage.runs import is_finished, is_model_only, steps_of

    try:
        if is_model_only(run):
            return _model_row(run)
        step, steps = steps_of(run)
        header = read_resume_header(run)
        best = header["progress"]["best"]
        finished = is_finished(run, step, steps)
        state = "finished" if finished else f"{step / steps:.0%}, resumable"
        loss = "-" if best is None else f"{best:.4f}"
        labels = _count(header["model"].get("labels", ()))
        return run.name, header["model"]["stack"], labels, f"{step:,}", loss, state
    except (CheckpointError, KeyError, TypeError):
        return run.name, "-", "-", "-", "-", "cannot be resumed"


def _count(labels: Sized) -> str:
    return f"{len(labels):,}" if labels else "-"


def _model_row(run: Path) -> Row:
    """Return the row of a run that is only a model, by what its file says."""
    from chargen.cli.console import loss_or_dash
    from chargen.model.saved import read_model
    from chargen.model.spec import format_stack
    from chargen.model.summary import number
    from chargen.storage.checkpoint import MODEL

    saved = read_model(run / MODEL)
    step, loss = (number(saved.training.get(name)) for name in ("step", "best_val_loss"))
    steps = "-" if step is None else f"{step:,.0f}"
    stack, labels = format_stack(saved.config.layers), _count(saved.config.labels)
    return run.name, stack, labels, steps, loss_or_dash(loss), "model only"
