"""Console output: events on stderr in colour, tables on stdout.

Text of users or models never passes through the markup of rich.
"""

from __future__ import annotations

import contextlib
import json
import math
import shlex
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TaskProgressColumn,
    TextColumn,
)
from rich.table import Table
from rich.text import Text

from chargen.display.output import visible
from chargen.training.events import (
    Ended,
    Evaluated,
    Event,
    Progressed,
    Started,
    Stopped,
    Warned,
    to_json,
)

SAMPLE_LINES = 3  # most lines shown of the sample of an evaluation


def stderr() -> Console:
    """Return the console for messages: everything except the results of a command."""
    return Console(stderr=True, markup=False, emoji=False, highlight=False, soft_wrap=True)


def stdout() -> Console:
    """Return the console for the results of a command."""
    return Console(markup=False, emoji=False, highlight=False)


def has_colour(console: Console) -> bool:
    """Tell whether a console shows colours; without them, commands write digits below a text."""
    return console.is_terminal and bool(console.color_system) and not console.no_color


def show(events: Iterable[Event], console: Console, form: str) -> Iterator[Event]:
    """Display events and yield them unchanged.

    Args:
        events: events of a run.
        console: console for messages.
        form: ``words``; ``quiet``, which reports only that a run was stopped; ``json``, one line
            per event on stdout; ``nothing``.
    """
    bar = _Bar(console) if console.is_terminal and form == "words" else None
    try:
        for event in events:
            if isinstance(event, Started) and form != "nothing":
                for note in event.notes:
                    console.print(Text(f"chargen: {note}"))
            if form == "json":
                print(json.dumps(to_json(event)), flush=True)
            elif bar and isinstance(event, Progressed):
                bar.update(event)
            elif form == "words" or (form == "quiet" and isinstance(event, Stopped)):
                _print(event, console)
            if bar:
                bar.remember(event)
            yield event
    finally:
        if bar:
            bar.close()


class _Bar:
    """Progress bar with speed, losses, n-gram baseline and time left, in 80 columns."""

    def __init__(self, console: Console) -> None:
        words = "{task.percentage:>3.0f}%  {task.fields[words]}"
        self._progress = Progress(
            BarColumn(bar_width=8), TextColumn(words), console=console, transient=True
        )
        self._val: float | None = None
        self._baseline: float | None = None
        self._task: TaskID | None = None

    def remember(self, event: Event) -> None:
        """Store the validation loss and the n-gram baseline for the next updates."""
        if isinstance(event, Started):
            self._baseline = event.ngram_baseline
        if isinstance(event, Evaluated):
            self._val = event.val_loss

    def update(self, event: Progressed) -> None:
        losses = {"train": event.train_loss, "val": self._val, "n-gram": self._baseline}
        words = "  ".join(
            (
                f"{event.characters_per_second:,.0f} chars/s",
                *(f"{name} {loss:.3f}" for name, loss in losses.items() if loss is not None),
                f"{clock(event.seconds_left)} left",
            )
        )
        if self._task is None:
            self._progress.start()
            self._task = self._progress.add_task("", total=event.steps, words=words)
        self._progress.update(self._task, completed=event.step, total=event.steps, words=words)

    def close(self) -> None:
        self._progress.stop()


class Meter:
    """Progress bar of one task; shown only in a terminal."""

    def __init__(self, name: str, size: int | None, count: ProgressColumn | None = None) -> None:
        console = stderr()
        columns = TextColumn("{task.description}", markup=False), BarColumn(bar_width=24)
        self._progress = Progress(
            *columns,
            count or TaskProgressColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task(name, total=size)

    def __enter__(self) -> Callable[..., None]:
        self._progress.start()
        return self._update

    def _update(self, count: int, size: int | None = None) -> None:
        self._progress.update(self._task, completed=count, total=size)

    def __exit__(self, *error: object) -> None:
        self._progress.stop()


def download(name: str, size: int | None) -> Meter:
    """Return the progress bar of a download, in bytes; it is told a size that is unknown yet."""
    return Meter(name, size, DownloadColumn())


def waiting(words: str, form: str = "words") -> AbstractContextManager[object]:
    """Show a status line until the work is done; only in a terminal."""
    console = stderr()
    shown = console.is_terminal and form == "words"
    return console.status(words) if shown else contextlib.nullcontext()


def _print(event: Event, console: Console) -> None:
    match event:
        case Started():
            verb = f"resuming at step {event.step:,}:" if event.step else "training"
            console.print(Text.assemble((f"{verb} {event.run.name}", "bold")))
            for name, words in event.facts:
                console.print(Text.assemble((f"{name:<7} ", "cyan"), words))
        case Evaluated():
            console.print(_evaluation(event))
            if console.is_terminal:
                _print_sample(event.sample, console)
        case Warned():
            console.print(Text(f"warning: {event.words}", style="yellow"))
        case Stopped():
            console.print(
                f"stopped after {event.step:,} of {event.steps:,} steps and saved; go on with: "
                f"chargen train --resume --name {shlex.quote(event.run.name)}"
            )
        case Ended():
            _print_end(event, console)


def _print_sample(sample: str, console: Console) -> None:
    """Show the first lines of a sample that are not blank, truncated to the width."""
    lines = [line for line in visible(sample).splitlines() if line.strip()]
    for line in lines[:SAMPLE_LINES]:
        words = Text.assemble(("  │ ", "cyan"), (line.expandtabs(4), "dim"))
        console.print(words, soft_wrap=False, no_wrap=True, overflow="ellipsis")


def _evaluation(event: Evaluated) -> Text:
    train = "" if event.train_loss is None else f"  train {event.train_loss:.4f}"
    line = Text(f"{clock(event.seconds)}  step {event.step:,}/{event.steps:,}{train}")
    if event.val_loss is not None and event.val_bits_per_char is not None:
        line.append(f"  val {event.val_loss:.4f} nats, {event.val_bits_per_char:.4f} bits/char")
        line.append("  best" if event.best else "", style="green")
    return line


def _print_end(event: Ended, console: Console) -> None:
    steps, seconds = event.metrics["steps"], event.metrics["seconds"]
    speed = event.metrics["characters_per_second"]
    console.print(f"done: {steps:,} steps in {clock(seconds)}, {speed:,} chars/s")
    loss = event.metrics["final_val_loss"]
    if loss is not None:
        words = (
            f"validation {loss:.4f} nats per token, {event.metrics['final_val_bits_per_char']:.4f} "
            f"bits per character, perplexity {math.exp(loss):.2f}"
        )
        console.print(Text(words, style="bold"))
    if (stateless := event.metrics["final_stateless_loss"]) is not None:
        console.print(f"stateless, in windows of 256 tokens: {stateless:.4f} nats per token")
    if (tested := event.metrics["final_test_loss"]) is not None:
        console.print(Text(f"test part {tested:.4f} nats per token", style="bold"))
    if (right := event.metrics["label_accuracy"]) is not None:
        told = f"labels of {right:.1%} of held-out texts are told rightly"
        console.print(f"{told}; more: chargen classify -m {shlex.quote(event.run.name)}")
    for words in event.advice:
        console.print(words)
    console.print(f"{event.model}\ngenerate with: chargen sample -m {shlex.quote(event.run.name)}")


def loss_or_dash(value: float | None) -> str:
    """Return a loss with four decimals, or a dash if it is unknown."""
    return "-" if value is None else f"{value:.4f}"


def clock(seconds: float) -> str:
    """Return seconds as M:SS or H:MM:SS."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def facts_table(facts: Iterable[tuple[str, str]]) -> Table:
    """Return a table of two columns without borders."""
    table = Table.grid(padding=(0, 2))
    for name, words in facts:
        table.add_row(Text(name, style="cyan"), Text(words, overflow="fold"))
    return table
