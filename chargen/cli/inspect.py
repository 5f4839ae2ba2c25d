"""``chargen inspect``: what goes on inside a model."""

from __future__ import annotations

from collections.abc import Callable

import typer

from chargen.cli import common
from chargen.cli.inspect_units import gates, neurons

COMMANDS: tuple[tuple[Callable[..., None], str], ...] = (  # with an example each
    (neurons, "chargen inspect neurons -m my-2026-11-21 --plot units.svg"),
    (gates, "chargen inspect gates my.txt --json"),
)

inspect = typer.Typer(help="Look inside a model.", no_args_is_help=True)
for command, example in COMMANDS:
    inspect.command(epilog=f"Example:  {example}")(common.reported(command))
