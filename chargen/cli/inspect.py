"""``chargen inspect``: views inside a model."""

from __future__ import annotations

from collections.abc import Callable

import typer

from chargen.cli import common
from chargen.cli.inspect_gradients import gradients
from chargen.cli.inspect_memory import memory
from chargen.cli.inspect_stack import stack
from chargen.cli.inspect_units import gates, neurons

COMMANDS: tuple[tuple[Callable[..., None], str], ...] = (  # each with an example
    (stack, "chargen inspect stack --stack gru:128,lstm:64 --plot stack.svg"),
    (neurons, "chargen inspect neurons -m my-2026-11-21 --plot units.svg"),
    (gates, "chargen inspect gates my.txt --json"),
    (gradients, "chargen inspect gradients my.txt --cells rnn,lstm,gru --time 1m"),
    (memory, "chargen inspect memory -m rnn -m lstm --plot memory.svg"),
)

inspect = typer.Typer(
    help="Show stack, units, gates, gradients and memory of a model.", no_args_is_help=True
)
for command, example in COMMANDS:
    inspect.command(epilog=f"Example:  {example}")(common.reported(command))
