"""``chargen train``: learn a text."""

from __future__ import annotations

import dataclasses
import random
import signal
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chargen.cli import common
from chargen.config import (
    CELLS,
    DEFAULT_TIME,
    TOKENIZERS,
    LayerConfig,
    ModelConfig,
    TrainConfig,
    help_of,
    parse_stack,
)
from chargen.errors import ConfigError

if TYPE_CHECKING:
    from chargen.job import Job

_TOKENIZERS = ", ".join(TOKENIZERS)
READING = ("tokenizer", "vocab_size", "encoding", "newlines")
TEXT, MODEL, RECIPE = "The text", "The model", "The recipe"


def _recipe(name: str, *flags: str) -> typer.models.OptionInfo:
    help_text = help_of(TrainConfig, name).capitalize() + "."
    return typer.Option(*flags, help=help_text, rich_help_panel=RECIPE)  # type: ignore[no-any-return]


def train(
    ctx: typer.Context,
    corpus: Annotated[
        list[str] | None,
        typer.Argument(help="Files, folders, - for standard input, builtin:pydoc, builtin:stdlib."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the run; default: made up.")] = None,
    time: Annotated[
        float | None,
        typer.Option(
            parser=common.parse_duration,
            metavar="DURATION",
            help="Time for everything, such as 90s, 5m, 1h30m; default: 5m.",
        ),
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Stop after so many steps.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Stop after so many passes.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with --name, or the newest unfinished run.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Begin a run of this name anew.")] = False,
    seed: Annotated[int | None, typer.Option(help=help_of(TrainConfig, "seed") + ".")] = None,
    device: common.Device = "auto",
    threads: common.Threads = None,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Show errors only.")] = False,
    tokenizer: Annotated[
        str, typer.Option(help=f"One of {_TOKENIZERS}.", rich_help_panel=TEXT)
    ] = "char",
    vocab_size: Annotated[
        int, typer.Option(min=1, help="Pieces of unigram and bpe.", rich_help_panel=TEXT)
    ] = 1000,
    encoding: Annotated[
        str | None, typer.Option(help="Of all files; default: UTF-8.", rich_help_panel=TEXT)
    ] = None,
    newlines: Annotated[
        str, typer.Option(help="fold turns CRLF into LF, keep leaves it.", rich_help_panel=TEXT)
    ] = "fold",
    val_frac: Annotated[float, _recipe("val_frac")] = TrainConfig.val_frac,
    stack: Annotated[
        str | None,
        typer.Option(help="Layers, bottom first, such as gru:128,lstm:64.", rich_help_panel=MODEL),
    ] = None,
    cell: Annotated[
        str, typer.Option(help=f"One of {', '.join(CELLS)}.", rich_help_panel=MODEL)
    ] = "lstm",
    hidden: Annotated[
        int, typer.Option(min=1, help="Hidden units of a layer.", rich_help_panel=MODEL)
    ] = 512,
    layers: Annotated[
        int, typer.Option(min=1, max=64, help="Number of layers.", rich_help_panel=MODEL)
    ] = 1,
    embedding: Annotated[
        int,
        typer.Option(
            min=1, help=help_of(ModelConfig, "embedding").capitalize() + ".", rich_help_panel=MODEL
        ),
    ] = ModelConfig.embedding,
    lanes: Annotated[int, _recipe("lanes")] = TrainConfig.lanes,
    window: Annotated[int, _recipe("window")] = TrainConfig.window,
    optimizer: Annotated[str, _recipe("optimizer")] = TrainConfig.optimizer,
    learning_rate: Annotated[float | None, _recipe("learning_rate", "--learning-rate", "--lr")] = (
        TrainConfig.learning_rate
    ),
    warmup: Annotated[float, _recipe("warmup")] = TrainConfig.warmup,
    clip: Annotated[float, _recipe("clip")] = TrainConfig.clip,
    weight_decay: Annotated[float, _recipe("weight_decay")] = TrainConfig.weight_decay,
    dropout: Annotated[float, _recipe("dropout")] = TrainConfig.dropout,
    average: Annotated[float, _recipe("average")] = TrainConfig.average,
    precision: Annotated[str, _recipe("precision")] = TrainConfig.precision,
) -> None:
    """Learn a text, and write the model to checkpoints/NAME/model.safetensors."""
    common.check_device(device)
    options = ctx.params
    config = _config(options)
    if resume and (corpus or force):
        raise ConfigError("--resume goes on with a run's own corpus; leave corpus and --force out")
    if not resume and not corpus:
        raise ConfigError("no corpus given; name a file, a folder, - or builtin:pydoc")
    job = _resumed_job(options, config) if resume else _new_job(options, config)
    _follow(job, quiet)


def _config(options: dict[str, Any]) -> TrainConfig:
    """Return the recipe that the options describe, with a seed drawn if none was given."""
    values = {field.name: options[field.name] for field in dataclasses.fields(TrainConfig)}
    if values["seed"] is None:
        values["seed"] = random.randrange(1 << 31)
    return TrainConfig(**values)


def _new_job(options: dict[str, Any], config: TrainConfig) -> Job:
    sources = tuple(options["corpus"])
    layers = (LayerConfig(options["cell"], options["hidden"]),) * options["layers"]
    if options["stack"]:
        layers = parse_stack(options["stack"])
    if config.time is None and config.steps is None and config.epochs is None:
        config = dataclasses.replace(config, time=DEFAULT_TIME)

    from chargen.corpus import Reading, tokenize

    reading = Reading(sources, *(options[name] for name in READING))
    text = reading.read()
    corpus = tokenize(text, reading, config.val_frac)

    from chargen.devices import count_cores, find_device
    from chargen.job import new_job
    from chargen.runs import new_run_folder

    run = new_run_folder(options["name"], sources, force=options["force"])
    device, threads = find_device(options["device"]), options["threads"] or count_cores()
    _use_threads(threads)
    job, notes = new_job(
        run=run,
        reading=reading,
        text=text,
        corpus=corpus,
        layers=layers,
        embedding=options["embedding"],
        config=config,
        device=device,
        threads=threads,
        seconds_used=common.seconds_used(),
    )
    for note in notes:
        common.warn(note)
    return job


def _resumed_job(options: dict[str, Any], budget: TrainConfig) -> Job:
    from chargen.devices import find_device
    from chargen.job import resumed_job
    from chargen.runs import find_unfinished

    job = resumed_job(find_unfinished(options["name"]), budget, find_device(options["device"]))
    _use_threads(job.plan.threads)
    return job


def _use_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


def _follow(job: Job, quiet: bool) -> None:
    """Train, show what happens, and save and stop at a signal."""
    from chargen.console import show, stderr
    from chargen.events import Stopped
    from chargen.trainer import Trainer

    signals = Signals()
    trainer = Trainer(job, common.BEGAN, lambda: signals.received is not None)
    for event in show(trainer.events(), stderr(), quiet=quiet):
        if isinstance(event, Stopped):
            raise typer.Exit(128 + (signals.received or signal.SIGINT))


class Signals:
    """Remembers the first signal to stop; a second Ctrl-C leaves at once."""

    def __init__(self) -> None:
        self.received: int | None = None
        names = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP
        for number in (getattr(signal, name) for name in names if hasattr(signal, name)):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup, background jobs
                signal.signal(number, self._receive)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            raise KeyboardInterrupt
        self.received = number
