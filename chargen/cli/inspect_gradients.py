"""``chargen inspect gradients``: norm of the gradient with respect to earlier states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chargen.cli import common, side_by_side
from chargen.cli.corpus import fetch_missing
from chargen.cli.options import parse_duration
from chargen.config import ReadConfig, TrainConfig, fresh_seed, help_of, require
from chargen.errors import ConfigError
from chargen.machine.torch import need_torch, use_threads
from chargen.model.spec import CELLS, format_stack

if TYPE_CHECKING:
    from chargen.display.charts import Chart
    from chargen.inspection.gradients import Curve
    from chargen.inspection.trial import TrainedCell
    from chargen.model.spec import ModelConfig

TRAINING = "Training (with --cells)"
CELL_TIME = 60.0  # seconds of training per cell by default
MOST_STEPS_BACK = 4096


def _recipe(name: str) -> Any:
    words = f"{help_of(TrainConfig, name)[:-1]}; default: {getattr(TrainConfig, name):g}."
    return typer.Option(help=words, rich_help_panel=TRAINING)


@dataclass(frozen=True)
class Inspected:
    """A model and its curves, with the result of the training if it was trained here."""

    name: str
    config: ModelConfig
    curves: list[Curve]
    trained: TrainedCell | None = None


def gradients(
    text: Annotated[
        str | None,
        typer.Argument(
            metavar="TEXT", help="Text to read, or to train on; default: the model's held-out text."
        ),
    ] = None,
    model: side_by_side.Models = None,
    steps_back: Annotated[int, typer.Option(help="Largest k.")] = 64,
    plot: side_by_side.Plot = None,
    as_json: side_by_side.Json = False,
    encoding: common.Encoding = None,
    threads: common.Threads = None,
    cells: Annotated[
        str | None,
        typer.Option(
            metavar="CELL,...",
            help=f"Train these cells on TEXT and compare them: {', '.join(CELLS)}.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    time: Annotated[
        float | None,
        typer.Option(
            parser=parse_duration,
            metavar="DURATION",
            help="Training time per cell; default: 1m.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            help="Training steps per cell; 0 leaves the initial weights.", rich_help_panel=TRAINING
        ),
    ] = None,
    clip: Annotated[float | None, _recipe("clip")] = None,
    recurrent_scale: Annotated[float | None, _recipe("recurrent_scale")] = None,
    seed: Annotated[
        int | None, typer.Option(help=help_of(TrainConfig, "seed"), rich_help_panel=TRAINING)
    ] = None,
) -> None:
    """Show the norm of dL_T/dh_{T-k}, the gradient of the loss by steps back k.

    L_T is the loss at step T, and h_{T-k} is the state k steps before.
    """
    need_torch("chargen inspect gradients")
    allowed = 1 <= steps_back <= MOST_STEPS_BACK
    require(allowed, "steps-back", steps_back, f"1 to {MOST_STEPS_BACK}")
    require(steps is None or steps >= 0, "steps", steps, "0 or more")
    from chargen.display import charts

    options = {"time": time, "steps": steps, "clip": clip, "recurrent-scale": recurrent_scale}
    given = {name: value for name, value in {**options, "seed": seed}.items() if value is not None}
    if plot:
        charts.check_picture(plot)
    if cells is None and given:
        raise ConfigError(f"--{next(iter(given))} is for training; add --cells rnn,lstm,gru")
    kinds = [] if cells is None else _kinds(cells, text, model)
    recipe = _training(given) if kinds else None
    use_threads(threads)
    if recipe and text:
        inspected, seed = _train_cells(kinds, text, encoding, recipe, steps_back), recipe.seed
    else:
        inspected = _load_models(model, text, encoding, steps_back)
    curves = sum(len(model.curves) for model in inspected)
    if curves > side_by_side.MOST_CURVES and (plot or not as_json):
        common.warn(f"the chart shows {side_by_side.MOST_CURVES} of {curves} curves, the table all")
    if plot:
        charts.save(_gradient_chart(inspected), plot)
    if as_json:
        trained = {"seed": seed} if recipe else {}
        models = list(map(_facts, inspected))
        side_by_side.write_json({"steps_back": steps_back, **trained, "models": models})
    else:
        print(charts.as_text(_gradient_chart(inspected)), end="\n\n")
        _print_gradients(inspected, steps_back)


def _kinds(cells: str, text: str | None, model: list[str] | None) -> list[str]:
    """Return the cells to train."""
    kinds = [kind.strip() for kind in cells.split(",")]
    for kind in kinds:
        if kind not in CELLS:
            raise ConfigError(f"cell is {kind!r}; allowed: {', '.join(CELLS)}")
    if len(set(kinds)) < len(kinds):
        raise ConfigError(f"--cells is {cells!r}; allowed: each cell once")
    if model:
        raise ConfigError("--cells trains its own models; leave --model out")
    if text is None:
        raise ConfigError("--cells needs a text to train on; name a file, or builtin:pydoc")
    return kinds


def _training(given: dict[str, Any]) -> TrainConfig:
    """Return the recipe of all cells, with a random seed if none is given."""
    if "time" in given and "steps" in given:
        raise ConfigError("--time and --steps both say how long; leave one out")
    values = {name.replace("-", "_"): value for name, value in given.items()}
    if "steps" not in values:
        values.setdefault("time", CELL_TIME)
    values["steps"] = values.get("steps") or None
    if "seed" not in values:
        values["seed"] = fresh_seed()
        common.warn(f"--seed {values['seed']}")
    return TrainConfig(**values)


def _train_cells(
    kinds: list[str], text: str, encoding: str | None, recipe: TrainConfig, steps_back: int
) -> list[Inspected]:
    """Train each cell in memory with the same recipe, and compute its curves."""
    fetch_missing([text])
    from chargen.cli.console import Meter, clock, waiting
    from chargen.data.dataset import read_text, tokenize
    from chargen.inspection.gradients import follow_back, rows_before
    from chargen.inspection.trial import PARTS, train_alike
    from chargen.machine import keep_memory

    keep_memory()
    with waiting("reading the text"):
        read = read_text(ReadConfig((text,), encoding=encoding))
        dataset = tokenize(read, recipe.val_frac)
    rows_before(dataset.validation, steps_back)  # raises if the text is too short
    for note in read.notes:
        common.warn(note)
    if recipe.time:
        whole = clock(recipe.time * len(kinds))
        common.warn(f"{len(kinds)} x {clock(recipe.time)} = {whole} of training")
    inspected = []
    for kind in kinds:
        with Meter(f"training {kind}", PARTS) as progress:
            trained = train_alike(kind, dataset, recipe, progress)
        with waiting("computing gradients"):
            curves = follow_back(trained.model, dataset.validation, steps_back)
        inspected.append(Inspected(kind, trained.config, curves, trained))
    return inspected


def _load_models(
    models: list[str] | None, text: str | None, encoding: str | None, steps_back: int
) -> list[Inspected]:
    """Compute the curves of trained models, on the given text or on their held-out text."""
    from chargen.cli.console import waiting
    from chargen.inspection.gradients import follow_back
    from chargen.model.language_model import LanguageModel

    inspected = []
    for saved, segment in side_by_side.measured_models(models, text, encoding):
        model = LanguageModel(saved.config)
        model.load(saved.weights())
        with waiting("computing gradients"):
            curves = follow_back(model, segment, steps_back)
        inspected.append(Inspected(saved.name, saved.config, curves))
    return inspected


def _gradient_chart(inspected: list[Inspected]) -> Chart:
    """Return a chart with the curves of all states, h before c."""
    from chargen.display.charts import Chart, Series

    pairs = [(model, curve) for model in inspected for curve in model.curves]
    pairs.sort(key=lambda pair: pair[1].part != "h")  # a stable sort
    series = [
        Series(_state(model, curve), curve.steps, curve.norms)
        for model, curve in pairs[: side_by_side.MOST_CURVES]
    ]
    title, axis = "How far back the loss reaches", "k, steps back"
    return Chart(title, axis, "norm of the gradient of L_T at T - k", tuple(series), log_y=True)


def _state(model: Inspected, curve: Curve) -> str:
    layer = f" {curve.layer}" if len(model.config.layers) > 1 else ""
    return f"{model.name}{layer} {curve.part}"


def _facts(model: Inspected) -> dict[str, Any]:
    """Return the facts about a model for JSON."""
    from chargen.model.spec import count_parameters

    facts: dict[str, Any] = {
        "name": model.name,
        "stack": format_stack(model.config.layers),
        "parameters": count_parameters(model.config),
    }
    if model.trained:
        facts["val_loss"] = model.trained.loss
        facts["steps"] = model.trained.steps
        facts["skipped_steps"] = model.trained.skipped
        facts["largest_gradient"] = model.trained.largest
    facts["curves"] = [
        {**vars(curve), "reach": curve.reach, "factor": curve.factor} for curve in model.curves
    ]
    return facts


def _print_gradients(inspected: list[Inspected], steps_back: int) -> None:
    rows = [
        (_state(model, curve), *_ends(curve), _reach(curve, steps_back), _number(curve.factor))
        for model in inspected
        for curve in model.curves
    ]
    ends = "k = 0", f"k = {steps_back}"
    side_by_side.print_table(("norm of", *ends, "decay to 1 %", "factor per step"), rows)
    if any(curve.first for model in inspected for curve in model.curves):
        print("c starts at k = 1, because the head reads only h")
    trained = [model.trained for model in inspected if model.trained]
    if trained:
        print()
        names = ("cell", "parameters", "loss, nats", "steps", "skipped steps", "largest gradient")
        side_by_side.print_table(names, list(map(_training_row, trained)))
    if any(cell.skipped for cell in trained):
        print("skipped steps: their gradient was not finite")


def _ends(curve: Curve) -> tuple[str, str]:
    return "-" if curve.first else _number(curve.norms[0]), _number(curve.norms[-1])


def _reach(curve: Curve, steps_back: int) -> str:
    """Return the k at which the norm has decayed to 1 %, or why there is none."""
    if curve.reach is not None:
        return f"{curve.reach:.1f}"
    return "never: it grows" if (curve.factor or 0) > 1 else f"beyond {steps_back}"


def _training_row(cell: TrainedCell) -> tuple[str, ...]:
    from chargen.model.spec import count_parameters

    stack, parameters = format_stack(cell.config.layers), f"{count_parameters(cell.config):,}"
    steps = f"{cell.steps:,}", f"{cell.skipped:,}"
    return stack, parameters, f"{cell.loss:.3f}", *steps, _number(cell.largest)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
