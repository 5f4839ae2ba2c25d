"""``chargen train``: learn a text."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from chargen.cli import common, settings
from chargen.cli.board import check_board
from chargen.cli.corpus import fetch_missing
from chargen.config import ReadConfig, TrainConfig, refuse
from chargen.errors import ConfigError, OutputError
from chargen.machine.torch import need_torch
from chargen.model.options import BASE_SETTINGS, ModelOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chargen.training.events import Event
    from chargen.training.run_state import RunState
    from chargen.training.trainer import Trainer


RESUMABLE = {
    *("name", "time", "steps", "epochs", "resume", "device", "threads"),
    *("quiet", "as_json", "tensorboard"),
}


def train(
    ctx: typer.Context,
    reading: ReadConfig,
    architecture: ModelOptions,
    recipe: TrainConfig,
    corpus: Annotated[
        list[str] | None,
        typer.Argument(help="Files, folders, - for standard input, builtin:pydoc, builtin:stdlib."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the run; default: from corpus and date.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume the run --name, or the newest unfinished.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a run of this name.")] = False,
    base: Annotated[
        str,
        typer.Option(
            *("--base", "--init-from"),
            metavar="MODEL",
            help="Model to begin from: auto, none, a name of `chargen models`, a run or a file.",
        ),
    ] = "auto",
    append: Annotated[
        bool,
        typer.Option(
            "--append", help="The corpus goes on behind that of --base or the newest run."
        ),
    ] = False,
    preset: settings.Preset = None,
    config: settings.ConfigFile = None,
    device: common.Device = "auto",
    threads: common.Threads = None,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Show errors only.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write events to stdout, one JSON object per line.")
    ] = False,
    copy_index: Annotated[
        bool, typer.Option("--copy-index", help="Keep an index for `chargen sample --no-copy`.")
    ] = False,
    tensorboard: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write losses for TensorBoard to DIR/NAME.")
    ] = None,
) -> None:
    """Learn a text and write the model to checkpoints/NAME/model.safetensors."""
    need_torch("chargen train")
    common.check_machine(device, threads)
    if as_json and quiet:
        raise ConfigError("--json and --quiet cannot be combined; leave one out")
    if tensorboard:
        check_board()
    given = [name for name in ctx.params if common.is_given(ctx, name)]
    if resume and corpus:
        raise ConfigError("--resume goes on with a run's own corpus; leave the corpus out")
    if resume:
        refuse(given, set(given) - RESUMABLE, "--resume goes on with a run's own settings")
    if append:
        from chargen.training.growing import GROWING

        refuse(given, GROWING | BASE_SETTINGS, "--append goes on with a run's own text and model")
    if base not in ("auto", "none"):
        refuse(given, BASE_SETTINGS, "--base brings its own model and tokenizer")
    if base == "auto" and BASE_SETTINGS & set(given):
        base = "none"
    if "newlines" in given and reading.newlines == "fold" and not resume:
        _refuse_folding(reading, base)
    if not (resume or corpus or append):
        raise ConfigError("no corpus given; name a file, a folder, - or builtin:pydoc")
    fetch_missing(corpus or [])
    from chargen.cli.console import waiting
    from chargen.training.memory import enough_memory
    from chargen.training.resume import resume_run
    from chargen.training.start import start_run

    form = "json" if as_json else "quiet" if quiet else "words"
    opening: AbstractContextManager[RunState]
    if resume:
        opening = resume_run(name, recipe, device=device, threads=threads)
    else:
        opening = start_run(
            replace(reading, sources=tuple(corpus or ())),
            architecture,
            recipe,
            name=name,
            force=force,
            base=base,
            append=append,
            copy_index=copy_index,
            device=device,
            threads=threads,
            began=common.BEGAN,
        )
    with enough_memory(), ExitStack() as held:
        with waiting("reading the text and measuring this machine", form):
            run = held.enter_context(opening)
        _follow(run, form, tensorboard)


def _refuse_folding(reading: ReadConfig, base: str) -> None:
    """Refuse to fold the line ends of a byte model, which learns all bytes as they are."""
    from chargen.training.base import given_base

    begun = given_base(base)
    kind = begun.tokenizer.kind if begun else reading.tokenizer
    if kind == "byte":
        raise ConfigError("a byte model keeps line ends as they are; leave --newlines fold out")


def _follow(run: RunState, form: str, board: Path | None) -> None:
    """Train, show what happens, and save and stop at a signal."""
    from chargen.cli.board import record
    from chargen.cli.console import show, stderr
    from chargen.training.events import Stopped
    from chargen.training.trainer import Trainer

    signals = Signals()
    trainer = Trainer(run, common.BEGAN, lambda: signals.received is not None)
    events: Iterator[Event] = trainer.events()
    if board and run.group.is_main:
        events = record(events, board / run.folder.name)
    form = form if run.group.is_main else "nothing"
    try:
        for event in show(events, stderr(), form):
            if isinstance(event, Stopped):
                raise common.leaving(128 + (signals.received or signal.SIGINT))
    except OutputError as error:
        _save_unread(trainer, error)


def _save_unread(trainer: Trainer, error: OutputError) -> NoReturn:
    """Save a run when nothing takes its events any more, and say so."""
    from chargen.cli.console import show, stderr
    from chargen.display.output import leave_closed_pipe

    leave_closed_pipe()
    for _ in show([trainer.leave()], stderr(), "words"):
        pass
    raise error


class Signals:
    """Remembers the first signal to stop; a second Ctrl-C leaves at once."""

    def __init__(self) -> None:
        self.received: int | None = None
        names = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP
        for number in (getattr(signal, name) for name in names if hasattr(signal, name)):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup, background jobs
                signal.signal(number, self._receive)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.received == number:  # torchrun sends SIGTERM on a Ctrl-C that we saw already
            _leave_at_once(128 + number)
        self.received = number


def _leave_at_once(code: int) -> None:
    """End the process here and now; files are whole at every instant.

    An exception would not do: one that is raised while Python calls back from a destructor is
    printed and forgotten.
    """
    if sys.stderr.isatty():
        os.write(sys.stderr.fileno(), b"\x1b[?25h\n")  # the bar had hidden the cursor
    os._exit(code)
