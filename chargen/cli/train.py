"""``chargen train``: learn a text."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chargen.cli import common, settings
from chargen.cli.board import check_board
from chargen.cli.corpus import fetch_missing
from chargen.config import DEFAULT_TIME, ReadConfig, TrainConfig, fresh_seed, help_of, unescape
from chargen.errors import ConfigError
from chargen.machine import count_cores, keep_memory, thread_options
from chargen.machine.torch import need_torch
from chargen.model.spec import PRESETS, LayerConfig, ModelConfig, parse_stack

if TYPE_CHECKING:
    from chargen.model.saved import SavedModel
    from chargen.training.fine_tuning import Start
    from chargen.training.processes import Team
    from chargen.training.run_state import Job

TEXT, MODEL, RECIPE = common.TEXT, "The model", "The recipe"


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
    init_from: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Begin from a trained model.")
    ] = None,
    preset: settings.Preset = None,
    config: settings.ConfigFile = None,
    device: common.Device = "auto",
    threads: common.Threads = None,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Show errors only.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write events to stdout, a JSON object a line.")
    ] = False,
    copy_index: Annotated[
        bool, typer.Option("--copy-index", help="Keep what chargen sample --no-copy needs.")
    ] = False,
    tensorboard: Annotated[
        Path | None, typer.Option(help="Write the losses for TensorBoard to DIR/NAME as well.")
    ] = None,
    tokenizer: Annotated[str, common.of(ReadConfig, "tokenizer", TEXT)] = ReadConfig.tokenizer,
    vocab_size: Annotated[int, common.of(ReadConfig, "vocab_size", TEXT)] = ReadConfig.vocab_size,
    encoding: Annotated[str | None, common.of(ReadConfig, "encoding", TEXT)] = ReadConfig.encoding,
    newlines: Annotated[str, common.of(ReadConfig, "newlines", TEXT)] = ReadConfig.newlines,
    separator: Annotated[str, common.of(ReadConfig, "separator", TEXT)] = r"\n",
    field: Annotated[str | None, common.of(ReadConfig, "field", TEXT)] = ReadConfig.field,
    val_frac: Annotated[float, common.of(TrainConfig, "val_frac", TEXT)] = TrainConfig.val_frac,
    test_frac: Annotated[float, common.of(TrainConfig, "test_frac", TEXT)] = TrainConfig.test_frac,
    stack: Annotated[
        str | None,
        typer.Option(help="Layers, bottom first, such as gru:128,lstm:64.", rich_help_panel=MODEL),
    ] = None,
    cell: Annotated[str | None, common.of(LayerConfig, "kind", MODEL)] = None,
    hidden: Annotated[int | None, common.of(LayerConfig, "hidden", MODEL)] = None,
    layers: Annotated[
        int | None,
        typer.Option(
            min=1, max=64, help="Number of layers; default: chosen.", rich_help_panel=MODEL
        ),
    ] = None,
    embedding: Annotated[int | None, common.of(ModelConfig, "embedding", MODEL)] = None,
    lanes: Annotated[int, common.of(TrainConfig, "lanes", RECIPE)] = TrainConfig.lanes,
    window: Annotated[int, common.of(TrainConfig, "window", RECIPE)] = TrainConfig.window,
    optimizer: Annotated[str, common.of(TrainConfig, "optimizer", RECIPE)] = TrainConfig.optimizer,
    learning_rate: Annotated[
        float | None, common.of(TrainConfig, "learning_rate", RECIPE, "--learning-rate", "--lr")
    ] = TrainConfig.learning_rate,
    warmup: Annotated[float, common.of(TrainConfig, "warmup", RECIPE)] = TrainConfig.warmup,
    clip: Annotated[float, common.of(TrainConfig, "clip", RECIPE)] = TrainConfig.clip,
    weight_decay: Annotated[float, common.of(TrainConfig, "weight_decay", RECIPE)] = (
        TrainConfig.weight_decay
    ),
    dropout: Annotated[
        float | None, common.of(TrainConfig, "dropout", RECIPE)
    ] = TrainConfig.dropout,
    weight_drop: Annotated[float | None, common.of(TrainConfig, "weight_drop", RECIPE)] = (
        TrainConfig.weight_drop
    ),
    average: Annotated[float, common.of(TrainConfig, "average", RECIPE)] = TrainConfig.average,
    recurrent_init: Annotated[str, common.of(TrainConfig, "recurrent_init", RECIPE)] = (
        TrainConfig.recurrent_init
    ),
    recurrent_scale: Annotated[float, common.of(TrainConfig, "recurrent_scale", RECIPE)] = (
        TrainConfig.recurrent_scale
    ),
    input_init: Annotated[
        str, common.of(TrainConfig, "input_init", RECIPE)
    ] = TrainConfig.input_init,
    forget_bias: Annotated[float, common.of(TrainConfig, "forget_bias", RECIPE)] = (
        TrainConfig.forget_bias
    ),
    patience: Annotated[int, common.of(TrainConfig, "patience", RECIPE)] = TrainConfig.patience,
    precision: Annotated[str, common.of(TrainConfig, "precision", RECIPE)] = TrainConfig.precision,
) -> None:
    """Learn a text, and write the model to checkpoints/NAME/model.safetensors."""
    need_torch("chargen train")
    common.check_device(device)
    options = ctx.params
    if tensorboard:
        check_board()
    recipe = _config(options)
    if resume and (corpus or force):
        raise ConfigError("--resume goes on with a run's own corpus; leave corpus and --force out")
    if not resume and not corpus:
        raise ConfigError("no corpus given; name a file, a folder, - or builtin:pydoc")
    fetch_missing(corpus or [])
    from chargen.cli.console import waiting

    form = _shown(options)
    with contextlib.ExitStack() as held:
        with waiting("reading the text and measuring this machine", form):
            job = (_resumed_job if resume else _new_job)(options, recipe, held)
        for note in job.notes if job.team.leads else ():
            common.warn(note)
        _follow(job, form, tensorboard)


def _config(options: dict[str, Any]) -> TrainConfig:
    """Return the recipe that the options describe, with a seed drawn if none was given."""
    values = {field.name: options[field.name] for field in dataclasses.fields(TrainConfig)}
    if values["seed"] is None:
        values["seed"] = fresh_seed()
    return TrainConfig(**values)


def candidates(options: dict[str, Any]) -> tuple[tuple[LayerConfig, ...], ...]:
    """Return the stacks to choose from: the presets, changed by what was asked for."""
    given = {name: options[name] for name in ("cell", "hidden", "layers") if options[name]}
    if options["stack"]:
        if given:
            raise ConfigError("--stack says it all; leave --preset, --cell, --hidden, --layers out")
        return (parse_stack(options["stack"]),)
    stacks = []
    for layers, hidden in PRESETS.values():
        layer = LayerConfig(given.get("cell", "lstm"), given.get("hidden", hidden))
        stacks.append((layer,) * given.get("layers", layers))
    return tuple(dict.fromkeys(stacks))


def _new_job(options: dict[str, Any], config: TrainConfig, held: ExitStack) -> Job:
    sources = tuple(options["corpus"])
    header, start = _start(options)
    stacks = (header.config.layers,) if header else candidates(options)
    if config.time is None and config.steps is None and config.epochs is None:
        config = dataclasses.replace(config, time=DEFAULT_TIME)

    from chargen.data.corpus import encode_corpus, read_text, tokenize
    from chargen.training.fine_tuning import grown

    values = {f.name: options[f.name] for f in dataclasses.fields(ReadConfig)[1:]}
    values["separator"] = unescape(values["separator"])
    values["tokenizer"] = header.tokenizer.kind if header else values["tokenizer"]
    reading = ReadConfig(sources, **values)
    text, fracs = read_text(reading), (config.val_frac, config.test_frac)
    if header:
        tokenizer = grown(header.tokenizer, text.parts(*fracs)[0])
        corpus = encode_corpus(text, tokenizer, *fracs)
    else:
        corpus = tokenize(text, *fracs)

    from chargen.machine.torch import find_device
    from chargen.storage.runs import clear_run, locked, new_run_folder
    from chargen.training.processes import find_team
    from chargen.training.run_state import new_job

    device = find_device(options["device"])
    team = find_team(device)
    config = dataclasses.replace(config, seed=team.agree(config.seed))
    name, force = options["name"], options["force"]
    run = Path(team.led(lambda: str(new_run_folder(name, sources, force=force))))
    if team.leads:
        held.enter_context(locked(run))
        if force:
            clear_run(run)
    if options["copy_index"] and team.leads:
        from chargen.sampling.constraints.copies import build_index, save_index

        save_index(run, build_index(text.parts(*fracs)[0], text.length))
    keep_memory()
    return new_job(
        run=run,
        reading=reading,
        text=text,
        corpus=corpus,
        stacks=stacks,
        embedding=header.config.embedding if header else options["embedding"],
        config=config,
        device=device,
        threads=_threads(options["threads"], team),
        seconds_used=common.seconds_used(),
        team=team,
        start=start,
    )


def _start(options: dict[str, Any]) -> tuple[SavedModel | None, Start | None]:
    """Return the model to begin from: what it is, and its weights."""
    if options["init_from"] is None:
        return None, None
    own = ("stack", "cell", "hidden", "layers", "embedding")
    if any(options[name] for name in own):
        raise ConfigError(f"--init-from brings its own model; leave --{', --'.join(own)} out")

    from chargen.model.saved import open_model
    from chargen.training.fine_tuning import Start

    saved = open_model(options["init_from"])
    return saved, Start(saved.tokenizer, saved.weights(), saved.sha256)


def _resumed_job(options: dict[str, Any], budget: TrainConfig, held: ExitStack) -> Job:
    from chargen.machine.torch import find_device
    from chargen.storage.runs import find_unfinished, locked
    from chargen.training.processes import find_team
    from chargen.training.run_state import resumed_job

    device = find_device(options["device"])
    run, team = find_unfinished(options["name"]), find_team(device)
    if team.leads:
        held.enter_context(locked(run))
    keep_memory()
    given = options["threads"]
    return resumed_job(run, budget, device, team, _threads(given, team) if given else None)


def _threads(given: int | None, team: Team) -> tuple[int, ...]:
    """Return the numbers of CPU threads to choose from: as given, or what the cores allow."""
    if given:
        return (given,)
    each = max(1, count_cores() // team.size)
    return thread_options(each) if team.size == 1 else (each,)


def _shown(options: dict[str, Any]) -> str:
    """Return the way in which events are shown."""
    return "json" if options["as_json"] else "quiet" if options["quiet"] else "words"


def _follow(job: Job, form: str, board: Path | None) -> None:
    """Train, show what happens, and save and stop at a signal."""
    from chargen.cli.board import record
    from chargen.cli.console import show, stderr
    from chargen.training.events import Stopped
    from chargen.training.trainer import Trainer

    signals = Signals()
    trainer = Trainer(job, common.BEGAN, lambda: signals.received is not None)
    events = trainer.events()
    if board and job.team.leads:
        events = record(events, board / job.run.name)
    form = form if job.team.leads else "nothing"
    for event in show(events, stderr(), form):
        if isinstance(event, Stopped):
            raise common.leaving(128 + (signals.received or signal.SIGINT))


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
