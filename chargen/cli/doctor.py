"""``chargen doctor``: facts about this machine, its speed, and advice."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chargen.cli import common, side_by_side

if TYPE_CHECKING:
    from rich.console import Console

Rows = list[tuple[str, str]]

PACKAGES = "torch", "onnxruntime", "numpy", "sentencepiece", "safetensors"
UNITS = {"matrices": "GFLOP/s", "training": "characters/s", "sampling": "characters/s"}


def doctor(
    probe: Annotated[
        bool, typer.Option("--probe/--no-probe", help="Measure the speed, in about 5 seconds.")
    ] = True,
    as_json: side_by_side.Json = False,
) -> None:
    """Report on this machine: versions, hardware, speed and problems; useful in bug reports."""
    from chargen.cli.console import waiting
    from chargen.machine.report import advice, look
    from chargen.storage.files import cache_folder, runs_folder

    with waiting("examining this machine", "json" if as_json else "words"):
        facts = look({"checkpoints": runs_folder(), "cache": cache_folder()})
        facts["speed"] = _speeds() if probe else None
    facts["advice"] = advice(facts)
    if as_json:
        print(json.dumps(facts, indent=2))
    else:
        _show(facts)


def _speeds() -> dict[str, Any] | None:
    """Return the speed of this machine, or None with a warning if the measurement fails."""
    from chargen.training.probe import speeds

    try:
        return speeds()
    except Exception as error:  # the report must appear even if something is broken
        common.warn(f"the speed could not be measured: {type(error).__name__}: {error}")
        return None


def _show(facts: dict[str, Any]) -> None:
    """Show the facts in sections: wrapped in a terminal, one line per fact in a pipe."""
    from rich.text import Text

    from chargen.cli.console import stdout

    console, sections = stdout(), _sections(facts)
    width = max(len(name) for _, rows in sections for name, _ in rows)
    for title, rows in sections:
        console.print(Text(title, style="bold"))
        for name, words in rows:
            _row(console, f"  {name:<{width}}  ", words)
    console.print(Text("advice", style="bold"))
    for sentence in facts["advice"] or ["no problems found"]:
        _row(console, "  - ", sentence)


def _row(console: Console, name: str, words: str) -> None:
    """Write a fact beside its name, and wrap it in a terminal."""
    from rich.text import Text

    from chargen.display.output import visible

    text, width = Text(visible(words)), max(20, console.width - len(name))
    lines = text.wrap(console, width, overflow="fold") if console.is_terminal else [text]
    for line in lines:
        line.rstrip()
        console.print(Text.assemble((name, "cyan"), line), soft_wrap=not console.is_terminal)
        name = " " * len(name)


def _sections(facts: dict[str, Any]) -> list[tuple[str, Rows]]:
    """Return the sections as pairs of a title and rows."""
    sections = [
        ("versions", _versions(facts["versions"])),
        ("machine", _machine(facts)),
        ("folders", [(name, _folder(folder)) for name, folder in facts["folders"].items()]),
    ]
    if facts["environment"]:
        sections.append(("environment", _environment(facts)))
    if facts["speed"]:
        sections.append(("speed", [(n, _speed(n, s)) for n, s in facts["speed"].items()]))
    return sections


def _versions(versions: dict[str, Any]) -> Rows:
    missing = {name: "not installed" for name in PACKAGES if versions[name] is None}
    return [(name, _said(value)) for name, value in (versions | missing).items()]


def _machine(facts: dict[str, Any]) -> Rows:
    processor, memory = facts["processor"], facts["memory"]
    cores = f"{_said(processor['cores'])} of {_said(processor['cores_of_machine'])}"
    cores += f", {_said(processor['physical_cores'])} physical"
    if quota := processor["container_cores"]:
        cores += f", container limit {quota:.3g}"
    return [
        ("processor", _said(processor["name"])),
        ("cores", cores),
        ("features", ", ".join(processor["flags"]) or "unknown"),
        ("torch kernels", _said(processor.get("torch_kernels"))),
        ("precisions", ", ".join(processor.get("precisions", ())) or "unknown"),
        ("devices", _devices(processor)),
        ("memory", f"{_size(memory['free_bytes'])} free of {_size(memory['limit_bytes'])}"),
        ("other programs", f"use {_said(facts['load']['other_cores'])} cores"),
    ]


def _devices(processor: dict[str, Any]) -> str:
    """Return the devices of torch, each GPU with its precisions."""
    if "devices" not in processor:
        return "unknown" if "torch_error" in processor else "cpu, without torch"
    precisions = processor["device_precisions"]
    return ", ".join(
        f"{name} ({', '.join(precisions[name] or ['precisions unknown'])})"
        if name in precisions
        else name
        for name in processor["devices"]
    )


def _environment(facts: dict[str, Any]) -> Rows:
    """Return the relevant variables, and which of them chargen has set."""
    own = ("GOMP_SPINCOUNT", "KMP_BLOCKTIME") if facts["spinning"]["set_by"] == "chargen" else ()
    return [
        (name, f"{value}{', set by chargen' * (name in own)}")
        for name, value in facts["environment"].items()
    ]


def _folder(folder: dict[str, Any]) -> str:
    state = "does not exist yet"
    if folder["exists"]:
        files = folder["files"]
        state = f"{_size(folder['used_bytes'])} in {files:,} file{'s' * (files != 1)}"
    locked = "" if folder["writable"] else "not writable, "
    return f"{folder['path']} ({locked}{state}, {_size(folder['free_bytes'])} free)"


def _speed(name: str, by_threads: dict[str, float | None]) -> str:
    """Return the speed for each number of threads."""
    parts = [
        f"{threads} thread{'s' * (threads != '1')} {'unknown' if rate is None else f'{rate:,.0f}'}"
        for threads, rate in by_threads.items()
    ]
    return f"{', '.join(parts)} {UNITS[name.partition(' ')[0]]}"


def _size(size: int | None) -> str:
    from rich.filesize import decimal

    return "unknown" if size is None else decimal(int(size))


def _said(value: object) -> str:
    return "unknown" if value is None else str(value)
