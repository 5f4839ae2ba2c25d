"""``chargen models``: the base models that come with the package, and their cards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from chargen.cli import side_by_side

COLUMNS = ("model", "stack", "characters", "val nats", "MB", "summary")


def models(
    name: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="Base model whose card is shown.")
    ] = None,
    as_json: side_by_side.Json = False,
) -> None:
    """List the base models that come with chargen, or show the card of one."""
    from chargen.config import require
    from chargen.storage.bases import base_models, card

    found = base_models()
    if name is not None:
        require(name in found, "base model", name, ", ".join(found))
        print(card(name), end="")
        return
    facts = {name: _facts(name, path) for name, path in found.items()}
    if as_json:
        print(json.dumps(facts, indent=2))
    else:
        _show(facts)


def _facts(name: str, path: Path) -> dict[str, Any]:
    """Return what the file and the card say of a model."""
    from chargen.model.saved import read_model
    from chargen.model.spec import format_stack
    from chargen.storage.bases import card

    saved = read_model(path)
    return {
        "stack": format_stack(saved.config.layers),
        "characters": saved.section("corpus")["characters"],
        "val_loss": saved.training["best_val_loss"],
        "bytes": path.stat().st_size,
        "summary": card(name).splitlines()[2],
        "path": str(path),
    }


def _show(models: dict[str, dict[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    from chargen.cli.console import stdout

    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in COLUMNS:
        table.add_column(column, style="bold" if column == "model" else "", overflow="fold")
    for name, of in models.items():
        size, loss = f"{of['bytes'] / 1e6:.1f}", f"{of['val_loss']:.4f}"
        cells = (name, of["stack"], f"{of['characters']:,}", loss, size, of["summary"])
        table.add_row(*map(Text, cells))
    stdout().print(table)
