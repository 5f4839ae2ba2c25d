"""``chargen corpus``: what a text is like, and which texts can be had."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chargen.cli import common
from chargen.config import ReadConfig

if TYPE_CHECKING:
    from chargen.data.catalogue import Entry

corpus = typer.Typer(help="Look at texts, and fetch published ones.", no_args_is_help=True)


@corpus.command(epilog="Example:  chargen corpus stats my.txt")
@common.reported
def stats(
    reading: Annotated[ReadConfig, ("encoding", "newlines", "separator", "field")],
    files: Annotated[list[str], typer.Argument(help="Files, folders, patterns, known texts.")],
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object.")] = False,
) -> None:
    """Show how large a text is, what it is made of, and what it can teach."""
    fetch_missing(files)
    from chargen.cli.console import waiting
    from chargen.data.dataset import read_text
    from chargen.data.statistics import describe

    with waiting("reading the text"):
        text = read_text(replace(reading, sources=tuple(files)))
        facts = describe(text)
    for note in text.notes:
        common.warn(note)
    if as_json:
        print(json.dumps(facts, indent=2))
        return
    from chargen.cli.console import facts_table, stdout

    stdout().print(
        facts_table((name.replace("_", " "), _words(value)) for name, value in facts.items())
    )


def _words(fact: object) -> str:
    return f"{fact:,}" if isinstance(fact, int | float) else str(fact)


@corpus.command("list", epilog="Example:  chargen corpus list")
@common.reported
def show_list() -> None:
    """List the texts that can be fetched, and the built-in ones."""
    from chargen.cli.console import facts_table, stdout
    from chargen.data.catalogue import catalogue
    from chargen.data.sources import BUILTIN

    rows = [(name, "comes with Python") for name in BUILTIN]
    rows += [
        (entry.name, f"{entry.bytes:,} bytes, {entry.licence}: {entry.about}")
        for entry in catalogue().values()
    ]
    stdout().print(facts_table(rows))


@corpus.command(epilog="Example:  chargen corpus fetch tinyshakespeare")
@common.reported
def fetch(name: Annotated[str, typer.Argument(help="One of chargen corpus list.")]) -> None:
    """Fetch a published text into ./corpora, checked bit for bit."""
    from chargen.data.catalogue import catalogue
    from chargen.errors import ConfigError

    if name not in catalogue():
        raise ConfigError(f"corpus is {name!r}; allowed: {', '.join(catalogue())}")
    print(_fetched(catalogue()[name]))


def fetch_missing(names: list[str]) -> None:
    """Fetch those of a command's texts that are neither here nor built in."""
    from chargen.data.catalogue import catalogue

    for name in names:
        if name in catalogue() and not Path(name).exists():
            _fetched(catalogue()[name])


def _fetched(entry: Entry) -> Path:
    from chargen.cli.console import download
    from chargen.data.catalogue import fetch as fetch_entry

    with download(entry.name, entry.bytes) as progress:
        return fetch_entry(entry, progress)
