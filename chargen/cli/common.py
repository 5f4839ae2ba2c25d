"""Parts that all commands share: errors as one line, common options."""

from __future__ import annotations

import contextlib
import errno
import functools
import inspect
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import Annotated, Any, NoReturn, get_args

import typer
from typer.models import ParameterInfo

from chargen.cli.options import expanded
from chargen.config import DEVICES, check_threads
from chargen.errors import ChargenError, ClosedPipeError, ConfigError, OutputError
from chargen.machine import is_out_of_memory, process_age
from chargen.machine.torch import need_torch
from chargen.model.spec import CELLS

BEGAN = time.monotonic() - process_age()  # when the process began
CLOSED_PIPE = 141  # 128 + SIGPIPE: exit code of a command whose output nobody reads any more
debug = False  # --debug: let errors through with their traceback

Model = Annotated[
    str | None,
    typer.Option(
        "-m", "--model", metavar="MODEL", help="Run, its folder or a model file; default: newest."
    ),
]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "-m",
        "--model",
        metavar="MODEL",
        help="Run, its folder or a model file; several are mixed; default: newest.",
    ),
]
Mix = Annotated[
    str | None,
    typer.Option(metavar="X,X", help="Weights of several models; default: all the same."),
]
Label = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Label of the text, or several by weight, as in Austen=0.7,Poe=0.3."
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
    command = _completed(_of_one_model(expanded(function)))

    @functools.wraps(command)
    def wrapper(**given: Any) -> None:
        with one_line():
            command(**given)
            sys.stdout.flush()

    return wrapper


@contextlib.contextmanager
def one_line() -> Iterator[None]:
    """Show a user's error as one line on stderr, and end the process with its exit code."""
    try:
        yield
    except ClosedPipeError:
        from chargen.display.output import leave_closed_pipe

        leave_closed_pipe()
        raise typer.Exit(CLOSED_PIPE) from None
    except ChargenError as error:
        if debug:
            raise
        _fail(str(error), error)
    except KeyboardInterrupt:
        warn("interrupted")
        raise leaving(130) from None
    except (MemoryError, RuntimeError, OSError) as error:
        if debug or not (words := environmental(error)):
            raise
        _fail(words, error)


def _fail(words: str, error: Exception) -> NoReturn:
    """Write an error in one line, and end the process."""
    from chargen.display.output import leave_closed_pipe

    print(f"chargen: {words}", file=sys.stderr)
    if isinstance(error, OutputError):
        leave_closed_pipe()  # what is still in the buffer cannot be written
    raise typer.Exit(2 if isinstance(error, ConfigError) else 1) from None


def environmental(error: Exception) -> str:
    """Return what to say of an error that is the machine's, not ours; empty for a bug."""
    if is_out_of_memory(error):
        return "out of memory; use a shorter text, a smaller model, or a machine with more memory"
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        from chargen.storage.runs import shortened

        return f"the name {shortened(str(error.filename))} is too long; give a shorter one"
    return ""


def _of_one_model(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command that reads one model refuse several: typer would take the last in silence."""
    parameters = dict(inspect.signature(command).parameters)
    found = parameters.get("model")
    if found is None or get_args(found.annotation)[0] != str | None:
        return command
    several = Annotated[list[str] | None, *get_args(found.annotation)[1:]]
    parameters["model"] = found.replace(annotation=several)

    @functools.wraps(command)
    def wrapper(*, model: list[str] | None, **given: Any) -> None:
        if model and len(model) > 1:
            raise ConfigError(
                f"this command reads one model, and {' and '.join(map(repr, model))} are given; "
                "leave out all but one (sample, repl, score, next and heat mix several)"
            )
        command(model=model[0] if model else None, **given)

    signature = inspect.Signature(list(parameters.values()))
    wrapper.__signature__ = signature  # type: ignore[attr-defined]
    wrapper.__annotations__ = {name: p.annotation for name, p in parameters.items()}
    del wrapper.__wrapped__  # inspect would take its signature
    return wrapper


# -- completion ---------------------------------------------------------------------------


def _models(incomplete: str) -> list[str]:
    """Return the names of the runs that begin so, the newest first."""
    from chargen.storage.runs import list_runs

    return [run.name for run in list_runs() if run.name.startswith(incomplete)]


def _cells(incomplete: str) -> list[str]:
    """Return the cells that begin so; of a list with commas, those for its last part."""
    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{cell}" for cell in CELLS if cell.startswith(last)]


COMPLETIONS = {"model": _models, "models": _models, "runs": _models, "run": _models} | {
    "base": _models,
    "cell": _cells,
    "cells": _cells,
    "kinds": _cells,
}


def _completed(command: Callable[..., None]) -> Callable[..., None]:
    """Let the shell complete the values of a command's options, where they are known."""
    for name, parameter in inspect.signature(command).parameters.items():
        for note in get_args(parameter.annotation):
            if isinstance(note, ParameterInfo) and name in COMPLETIONS:
                note.autocompletion = COMPLETIONS[name]
    return command


def leaving(code: int) -> typer.Exit:
    """Return what ends an interrupted command; a further Ctrl-C has nothing left to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return typer.Exit(code)


def warn(message: str) -> None:
    """Tell the user something that is no error."""
    print(f"chargen: {message}", file=sys.stderr)


def is_given(ctx: typer.Context, name: str) -> bool:
    """Tell whether an option stands on the command line or in a file of settings."""
    source = ctx.get_parameter_source(name)
    return source is not None and source.name in ("COMMANDLINE", "DEFAULT_MAP")


def check_machine(device: str, threads: int | None) -> None:
    """Refuse what no machine has, and a GPU where torch is not installed."""
    check_threads(threads)
    if device not in DEVICES:
        raise ConfigError(f"device is {device!r}; allowed: {', '.join(DEVICES)}")
    if device not in ("auto", "cpu"):
        need_torch(f"--device {device}")
