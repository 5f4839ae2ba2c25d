"""``chargen corpus``: what a text is like, and which texts can be had."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from chargen.cli import common

corpus = typer.Typer(help="Look at texts, and fetch published ones.", no_args_is_help=True)


@corpus.command(epilog="Example:  chargen corpus stats my.txt")
@common.reported
def stats(
    files: Annotated[list[str], typer.Argument(help="Files, folders, patterns, known texts.")],
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object.")] = False,
) -> None:
    """Show how large a text is, what it is made of, and what it can teach."""
    from chargen.config import ReadConfig
    from chargen.corpus import read_text
    from chargen.statistics import describe

    facts = describe(read_text(ReadConfig(tuple(files))))
    if as_json:
        print(json.dumps(facts, indent=2))
        return
    from chargen.console import facts_table, stdout

    stdout().print(
        facts_table((name.replace("_", " "), str(value)) for name, value in facts.items())
    )


@corpus.command("list", epilog="Example:  chargen corpus list")
@common.reported
def show_list() -> None:
    """List the texts that can be fetched, and the built-in ones."""
    from chargen.catalogue import catalogue
    from chargen.console import facts_table, stdout
    from chargen.sources import BUILTIN

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
    from chargen.catalogue import catalogue
    from chargen.catalogue import fetch as fetch_entry
    from chargen.console import Download
    from chargen.errors import ConfigError

    if name not in catalogue():
        raise ConfigError(f"corpus is {name!r}; allowed: {', '.join(catalogue())}")
    entry = catalogue()[name]
    with Download(entry.name, entry.bytes) as progress:
        path = fetch_entry(entry, progress)
    print(path)
