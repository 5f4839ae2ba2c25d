"""``chargen train``: learn a text."""

from __future__ import annotations

import dataclasses
import signal
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.models import OptionInfo

from chargen.cli import common
from chargen.config import (
    DEFAULT_TIME,
    LayerConfig,
    ModelConfig,
    ReadConfig,
    TrainConfig,
    fresh_seed,
    help_of,
    parse_stack,
)
from chargen.errors import ConfigError

if TYPE_CHECKING:
    from chargen.job import Job

TEXT, MODEL, RECIPE = "The text", "The model", "The recipe"


def _of(config: type, name: str, panel: str, *flags: str) -> OptionInfo:
    """Return the option of a config's field: its help is the field's."""
    return typer.Option(*flags, help=help_of(config, name), rich_help_panel=panel)  # type: ignore[no-any-return]


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
    seed: Annotated[int | None, typer.Option(help=help_of(TrainConfig, "seed"))] = None,
    device: common.Device = "auto",
    threads: common.Threads = None,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Show errors only.")] = False,
    tokenizer: Annotated[str, _of(ReadConfig, "tokenizer", TEXT)] = ReadConfig.tokenizer,
    vocab_size: Annotated[int, _of(ReadConfig, "vocab_size", TEXT)] = ReadConfig.vocab_size,
    encoding: Annotated[str | None, _of(ReadConfig, "encoding", TEXT)] = ReadConfig.encoding,
    newlines: Annotated[str, _of(ReadConfig, "newlines", TEXT)] = ReadConfig.newlines,
    val_frac: Annotated[float, _of(TrainConfig, "val_frac", TEXT)] = TrainConfig.val_frac,
    stack: Annotated[
        str | None,
        typer.Option(help="Layers, bottom first, such as gru:128,lstm:64.", rich_help_panel=MODEL),
    ] = None,
    cell: Annotated[str, _of(LayerConfig, "kind", MODEL)] = LayerConfig.kind,
    hidden: Annotated[int, _of(LayerConfig, "hidden", MODEL)] = LayerConfig.hidden,
    layers: Annotated[
        int, typer.Option(min=1, max=64, help="Number of layers.", rich_help_panel=MODEL)
    ] = 1,
    embedding: Annotated[int, _of(ModelConfig, "embedding", MODEL)] = ModelConfig.embedding,
    lanes: Annotated[int, _of(TrainConfig, "lanes", RECIPE)] = TrainConfig.lanes,
    window: Annotated[int, _of(TrainConfig, "window", RECIPE)] = TrainConfig.window,
    optimizer: Annotated[str, _of(TrainConfig, "optimizer", RECIPE)] = TrainConfig.optimizer,
    learning_rate: Annotated[
        float | None, _of(TrainConfig, "learning_rate", RECIPE, "--learning-rate", "--lr")
    ] = TrainConfig.learning_rate,
    warmup: Annotated[float, _of(TrainConfig, "warmup", RECIPE)] = TrainConfig.warmup,
    clip: Annotated[float, _of(TrainConfig, "clip", RECIPE)] = TrainConfig.clip,
    weight_decay: Annotated[float, _of(TrainConfig, "weight_decay", RECIPE)] = (
        TrainConfig.weight_decay
    ),
    dropout: Annotated[float, _of(TrainConfig, "dropout", RECIPE)] = TrainConfig.dropout,
    input_dropout: Annotated[float, _of(TrainConfig, "input_dropout", RECIPE)] = TrainConfig.input_dropout,
    embedding_dropout: Annotated[float, _of(TrainConfig, "embedding_dropout", RECIPE)] = TrainConfig.embedding_dropout,
    weight_drop: Annotated[float, _of(TrainConfig, "weight_drop", RECIPE)] = TrainConfig.weight_drop,
    schedule: Annotated[str, _of(TrainConfig, "schedule", RECIPE)] = TrainConfig.schedule,
    shuffle: Annotated[int, _of(TrainConfig, "shuffle", RECIPE)] = TrainConfig.shuffle,
    tie: Annotated[int, _of(TrainConfig, "tie", RECIPE)] = TrainConfig.tie,
    joined: Annotated[int, _of(TrainConfig, "joined", RECIPE)] = TrainConfig.joined,
    average: Annotated[float, _of(TrainConfig, "average", RECIPE)] = TrainConfig.average,
    recurrent_init: Annotated[str, _of(TrainConfig, "recurrent_init", RECIPE)] = (
        TrainConfig.recurrent_init
    ),
    recurrent_scale: Annotated[float, _of(TrainConfig, "recurrent_scale", RECIPE)] = (
        TrainConfig.recurrent_scale
    ),
    input_init: Annotated[str, _of(TrainConfig, "input_init", RECIPE)] = TrainConfig.input_init,
    forget_bias: Annotated[float, _of(TrainConfig, "forget_bias", RECIPE)] = (
        TrainConfig.forget_bias
    ),
    precision: Annotated[str, _of(TrainConfig, "precision", RECIPE)] = TrainConfig.precision,
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
        values["seed"] = fresh_seed()
    return TrainConfig(**values)


def _new_job(options: dict[str, Any], config: TrainConfig) -> Job:
    sources = tuple(options["corpus"])
    layers = (LayerConfig(options["cell"], options["hidden"]),) * options["layers"]
    if options["stack"]:
        layers = parse_stack(options["stack"])
    if config.time is None and config.steps is None and config.epochs is None:
        config = dataclasses.replace(config, time=DEFAULT_TIME)

    from chargen.corpus import read_text, tokenize

    reading = ReadConfig(sources, *(options[f.name] for f in dataclasses.fields(ReadConfig)[1:]))
    text = read_text(reading)
    corpus = tokenize(text, reading, config.val_frac)

    from chargen.devices import count_cores, find_device
    from chargen.job import new_job
    from chargen.runs import new_run_folder

    run = new_run_folder(options["name"], sources, force=options["force"])
    device, threads = find_device(options["device"]), options["threads"] or count_cores()
    _prepare(threads)
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
    _prepare(job.plan.threads)
    return job


def _prepare(threads: int) -> None:
    """Set the machine up for training, before its speed is measured."""
    import torch

    from chargen.devices import keep_memory

    keep_memory()
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
