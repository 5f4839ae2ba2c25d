"""``chargen inspect``: what goes on inside a model."""

from __future__ import annotations

from collections.abc import Callable

import typer

from chargen.cli import common

COMMANDS: tuple[tuple[Callable[..., None], str], ...] = ()  # with an example each

inspect = typer.Typer(help="Look inside a model.", no_args_is_help=True)
for command, example in COMMANDS:
    inspect.command(epilog=f"Example:  {example}")(common.reported(command))
