"""What the commands share: errors as one line, options that several have."""

from __future__ import annotations

import functools
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from typing import Annotated, ParamSpec, TypeVar

import typer
from typer.models import OptionInfo

from chargen.config import DEVICES, help_of
from chargen.errors import ChargenError, ConfigError
from chargen.machine import process_age
from chargen.machine.torch import need_torch

BEGAN = time.monotonic() - process_age()  # when the process began
debug = False  # --debug: let errors through with their traceback

TEXT = "The text"  # panel of the options that say how a text is read

P = ParamSpec("P")
R = TypeVar("R")

Model = Annotated[
    str | None,
    typer.Option("-m", "--model", help="A run's name, its folder or a file; default: newest run."),
]
Encoding = Annotated[
    str | None, typer.Option(help="Of the text; default: UTF-8, or what a mark says.")
]
Device = Annotated[str, typer.Option(help=f"One of {', '.join(DEVICES)}.", show_default=True)]
Int8 = Annotated[
    bool, typer.Option("--int8", help="Weights as int8: faster when large, a little coarser.")
]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; default: all cores.")]


def of(config: type, name: str, panel: str, *flags: str) -> OptionInfo:
    """Return the option of a config's field: its help is the field's."""
    return typer.Option(*flags, help=help_of(config, name), rich_help_panel=panel)  # type: ignore[no-any-return]


def reported(command: Callable[P, R]) -> Callable[P, R]:
    """Show a user's error as one line on stderr, and give it its exit code."""

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
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


def as_text(argument: str) -> str:
    """Return an argument as UTF-8, whatever the locale took its bytes for."""
    try:
        return os.fsencode(argument).decode()
    except UnicodeDecodeError:
        raise ConfigError(f"{argument!r} is not UTF-8; write it so") from None


def check_device(device: str) -> None:
    """Refuse a device name that no machine has, and a GPU where torch is not installed."""
    if device not in DEVICES:
        raise ConfigError(f"device is {device!r}; allowed: {', '.join(DEVICES)}")
    if device not in ("auto", "cpu"):
        need_torch(f"--device {device}")


def parse_duration(text: str) -> float:
    """Return the seconds of ``90``, ``90s``, ``2m``, ``1h30m`` or ``1.5h``."""
    units = {"h": 3600.0, "m": 60.0, "s": 1.0}
    number = r"([0-9]+(?:\.[0-9]+)?)"
    if re.fullmatch(number, text):
        return float(text)
    parts = re.findall(number + "([hms])", text)
    if not parts or "".join(value + unit for value, unit in parts) != text:
        raise typer.BadParameter(f"{text!r} is no duration; write 90s, 2m, 1h30m or 1.5h")
    return sum(float(value) * units[unit] for value, unit in parts)
