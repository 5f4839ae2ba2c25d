"""Parts that all commands share: errors as one line, common options."""

from __future__ import annotations

import functools
import signal
import sys
import time
from collections.abc import Callable
from typing import Annotated, Any

import typer

from chargen.cli.options import expanded
from chargen.config import DEVICES, require
from chargen.errors import ChargenError, ConfigError
from chargen.machine import process_age
from chargen.machine.torch import need_torch

BEGAN = time.monotonic() - process_age()  # when the process began
debug = False  # --debug: let errors through with their traceback

Model = Annotated[
    str | None,
    typer.Option(
        "-m", "--model", metavar="MODEL", help="Run, its folder or a model file; default: newest."
    ),
]
Encoding = Annotated[
    str | None,
    typer.Option(help="Encoding of the text; default: UTF-8, or by the byte-order mark."),
]
Device = Annotated[str, typer.Option(metavar="NAME", help=f"Device: {', '.join(DEVICES)}.")]
Int8 = Annotated[
    bool, typer.Option("--int8", help="Quantize the weights to int8: faster, less exact.")
]
Threads = Annotated[int | None, typer.Option(help="CPU threads; default: the fastest number.")]


def reported(function: Callable[..., None]) -> Callable[..., None]:
    """Make a command of a function: its options, and a user's error as one line on stderr."""
    command = expanded(function)

    @functools.wraps(command)
    def wrapper(**given: Any) -> None:
        try:
            command(**given)
        except ChargenError as error:
            if debug:
                raise
            print(f"chargen: {error}", file=sys.stderr)
            raise typer.Exit(2 if isinstance(error, ConfigError) else 1) from None
        except KeyboardInterrupt:
            raise leaving(130) from None
        except BrokenPipeError:
            from chargen.display.output import leave_closed_pipe

            leave_closed_pipe()
            raise typer.Exit(0) from None

    return wrapper


def leaving(code: int) -> typer.Exit:
    """Return what ends an interrupted command; a further Ctrl-C has nothing left to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return typer.Exit(code)


def seconds_used() -> float:
    """Return the seconds since the process began."""
    return time.monotonic() - BEGAN


def warn(message: str) -> None:
    """Tell the user something that is no error."""
    print(f"chargen: {message}", file=sys.stderr)


def check_machine(device: str, threads: int | None) -> None:
    """Refuse what no machine has, and a GPU where torch is not installed."""
    require(threads is None or threads >= 1, "threads", threads, "1 or more")
    if device not in DEVICES:
        raise ConfigError(f"device is {device!r}; allowed: {', '.join(DEVICES)}")
    if device not in ("auto", "cpu"):
        need_torch(f"--device {device}")
