"""``chargen doctor``: what this machine is, how fast it is, and what is off."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chargen.cli import common

if TYPE_CHECKING:
    from rich.table import Table

UNITS = {"matrices": "GFLOP/s", "training": "characters/s", "sampling": "characters/s"}


def doctor(
    probe: Annotated[
        bool, typer.Option("--probe/--no-probe", help="Measure the speed too, some 5 seconds.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object.")] = False,
) -> None:
    """Show what this machine is, how fast it is, and what is off; for bug reports."""
    from chargen.console import waiting
    from chargen.machine.report import advice, look
    from chargen.storage import cache_folder, runs_folder

    with waiting("looking at this machine", "json" if as_json else "words"):
        facts = look({"checkpoints": runs_folder(), "cache": cache_folder()})
        facts["speed"] = _speeds() if probe else None
    facts["advice"] = advice(facts)
    if as_json:
        print(json.dumps(facts, indent=2))
    else:
        _show(facts)


def _speeds() -> dict[str, Any] | None:
    """Return the speed of this machine; None where something breaks, which is said."""
    from chargen.probe import speeds

    try:
        return speeds()
    except Exception as error:  # a report must come whatever is broken
        common.warn(f"the speed could not be measured: {type(error).__name__}: {error}")
        return None


def _show(facts: dict[str, Any]) -> None:
    from chargen.console import stdout

    console = stdout()
    for title, rows in _sections(facts):
        console.print(title, style="bold", markup=False)
        console.print(_table(rows))
    words = facts["advice"] or ["nothing is off"]
    console.print("advice", style="bold")
    for sentence in words:
        console.print(_table([("-", sentence)], width=1))


def _table(rows: list[tuple[str, str]], width: int = 14) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(min_width=width, no_wrap=True)
    table.add_column(overflow="fold")
    for name, words in rows:
        table.add_row(Text(f"  {name}", style="cyan"), Text(words))
    return table


def _sections(facts: dict[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return what is shown, as rows of words under titles."""
    sections = [
        ("versions", [(name, _said(value)) for name, value in facts["versions"].items()]),
        ("machine", _machine(facts)),
        ("folders", [(name, _folder(folder)) for name, folder in facts["folders"].items()]),
    ]
    if facts["environment"]:
        sections.append(("environment", list(facts["environment"].items())))
    if facts["speed"]:
        sections.append(("speed", [(n, _speed(n, s)) for n, s in facts["speed"].items()]))
    return sections


def _machine(facts: dict[str, Any]) -> list[tuple[str, str]]:
    processor, memory = facts["processor"], facts["memory"]
    cores = f"{processor['cores']} of {_said(processor['cores_of_machine'])}"
    return [
        ("processor", _said(processor["name"])),
        ("cores", f"{cores}, {_said(processor['physical_cores'])} physical"),
        ("can do", ", ".join(processor["flags"]) or "unknown"),
        ("torch kernels", _said(processor.get("torch_kernels"))),
        ("precisions", ", ".join(processor.get("precisions", ())) or "unknown"),
        ("devices", ", ".join(processor.get("devices", ())) or "cpu, without torch"),
        ("memory", f"{_size(memory['free_bytes'])} free of {_size(memory['limit_bytes'])}"),
        ("other programs", f"keep {_said(facts['load'].get('other_cores'))} cores busy"),
    ]


def _folder(folder: dict[str, Any]) -> str:
    state = "not there yet" if not folder["exists"] else f"{_size(folder['used_bytes'])} in it"
    return f"{folder['path']} ({state}, {_size(folder['free_bytes'])} free)"


def _speed(name: str, by_threads: dict[str, float]) -> str:
    """Return a speed with each number of threads."""
    unit = UNITS[name.partition(" ")[0]]
    parts = [
        f"{rate:,.0f} with {threads} thread{'s' * (threads != '1')}"
        for threads, rate in by_threads.items()
    ]
    return f"{', '.join(parts)} {unit}"


def _size(size: int | None) -> str:
    return "unknown" if size is None else f"{size / 1e9:,.1f} GB"


def _said(value: object) -> str:
    return "unknown" if value is None else str(value)
