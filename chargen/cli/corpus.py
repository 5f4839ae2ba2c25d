"""``chargen corpus``: statistics of a text, and downloads of published texts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chargen.cli import common
from chargen.config import ReadConfig

if TYPE_CHECKING:
    from chargen.data.catalogue import CatalogueEntry

corpus = typer.Typer(
    help="Describe a text, list published texts and download them.", no_args_is_help=True
)


READING = ("encoding", "newlines", "separator", "field", "documents", "records", "label")


@corpus.command(epilog="Example:  chargen corpus stats my.txt")
@common.reported
def stats(
    reading: Annotated[ReadConfig, READING],
    files: Annotated[
        list[str], typer.Argument(metavar="TEXT", help="Files, folders, patterns or known texts.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Show size, alphabet and lines of a text, and the largest model that it supports."""
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
    if isinstance(fact, dict):
        from chargen.data.collecting import shown_label

        return ", ".join(f"{shown_label(name)} {count:,}" for name, count in fact.items())
    return f"{fact:,}" if isinstance(fact, int | float) else str(fact)


@corpus.command("list", epilog="Example:  chargen corpus list")
@common.reported
def show_list() -> None:
    """List the built-in texts and the published ones to download."""
    from chargen.cli.console import facts_table, stdout
    from chargen.data.catalogue import catalogue
    from chargen.data.sources import BUILTIN

    rows = [(name, "included with Python") for name in BUILTIN]
    rows += [
        (entry.name, f"{entry.bytes:,} bytes, {entry.licence}: {entry.about}")
        for entry in catalogue().values()
    ]
    stdout().print(facts_table(rows))


@corpus.command(epilog="Example:  chargen corpus fetch tinyshakespeare")
@common.reported
def fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name from `chargen corpus list`.")],
) -> None:
    """Download a published text into ./corpora and verify its checksum."""
    from chargen.data.catalogue import catalogue
    from chargen.errors import ConfigError

    if name not in catalogue():
        raise ConfigError(f"corpus is {name!r}; allowed: {', '.join(catalogue())}")
    print(_fetched(catalogue()[name]))


def fetch_missing(names: list[str]) -> None:
    """Download the texts of a command that are in the catalogue and not here yet."""
    from chargen.data.catalogue import catalogue

    for name in names:
        if name in catalogue() and not Path(name).exists():
            _fetched(catalogue()[name])


def _fetched(entry: CatalogueEntry) -> Path:
    from chargen.cli.console import download
    from chargen.data.catalogue import fetch as fetch_entry

    with download(entry.name, entry.bytes) as progress:
        return fetch_entry(entry, progress)
