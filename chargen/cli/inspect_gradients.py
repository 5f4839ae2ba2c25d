"""``chargen inspect gradients``: how far back the loss reaches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chargen.cli import common, side_by_side
from chargen.cli.corpus import fetch_missing
from chargen.cli.options import parse_duration
from chargen.config import ReadConfig, TrainConfig, fresh_seed, help_of
from chargen.errors import ConfigError
from chargen.machine.torch import need_torch
from chargen.model.spec import CELLS, format_stack

if TYPE_CHECKING:
    from chargen.display.charts import Chart
    from chargen.inspection.gradients import Curve
    from chargen.inspection.trial import Trial
    from chargen.model.spec import ModelConfig

TRAINING = "Cells trained alike (with --cells)"
TRIAL_TIME = 60.0  # seconds that a cell is trained when no budget is given


def _recipe(name: str) -> Any:
    words = f"{help_of(TrainConfig, name)[:-1]}; default: {getattr(TrainConfig, name):g}."
    return typer.Option(help=words, rich_help_panel=TRAINING)


@dataclass(frozen=True)
class Looked:
    """A model and its curves; of a cell trained here also its trial."""

    name: str
    config: ModelConfig
    curves: list[Curve]
    trial: Trial | None = None


def gradients(
    text: Annotated[
        str | None,
        typer.Argument(help="Text to measure on, or to train --cells on; default: held-out text."),
    ] = None,
    model: side_by_side.Models = None,
    steps_back: Annotated[int, typer.Option(min=1, max=4096, help="The largest k.")] = 64,
    plot: side_by_side.Plot = None,
    as_json: side_by_side.Json = False,
    encoding: common.Encoding = None,
    threads: common.Threads = None,
    cells: Annotated[
        str | None,
        typer.Option(
            metavar="CELL,...",
            help=f"Train these on TEXT and compare them: of {', '.join(CELLS)}.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    time: Annotated[
        float | None,
        typer.Option(
            parser=parse_duration,
            metavar="DURATION",
            help="Time to train each cell; default: 1m.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            min=0, help="Steps of each instead; 0: weights as drawn.", rich_help_panel=TRAINING
        ),
    ] = None,
    clip: Annotated[float | None, _recipe("clip")] = None,
    recurrent_scale: Annotated[float | None, _recipe("recurrent_scale")] = None,
    seed: Annotated[
        int | None, typer.Option(help=help_of(TrainConfig, "seed"), rich_help_panel=TRAINING)
    ] = None,
) -> None:
    """Show how far back the loss reaches: the norm of dL_T/dh_{T-k} against k.

    L_T is the loss at one step T, h_{T-k} the state k steps before it.
    """
    need_torch("chargen inspect gradients")
    from chargen.display import charts

    options = {"time": time, "steps": steps, "clip": clip, "recurrent-scale": recurrent_scale}
    given = {name: value for name, value in {**options, "seed": seed}.items() if value is not None}
    if plot:
        charts.check_picture(plot)
    if cells is None and given:
        raise ConfigError(f"--{next(iter(given))} is for training; add --cells rnn,lstm,gru")
    kinds = [] if cells is None else _kinds(cells, text, model)
    recipe = _training(given) if kinds else None
    _prepare(threads)
    if recipe and text:
        looked, seed = _trained_alike(kinds, text, encoding, recipe, steps_back), recipe.seed
    else:
        looked = _of_models(model, text, encoding, steps_back)
    chart = _gradient_chart(looked)
    curves = sum(len(model.curves) for model in looked)
    if curves > side_by_side.MOST_CURVES and (plot or not as_json):
        common.warn(f"the chart shows {side_by_side.MOST_CURVES} of {curves} curves, the table all")
    if plot:
        charts.save(chart, plot)
    if as_json:
        trained = {"seed": seed} if recipe else {}
        side_by_side.write_json(
            {"steps_back": steps_back, **trained, "models": list(map(_facts, looked))}
        )
        return
    print(charts.as_text(chart), end="\n\n")
    _print_gradients(looked, steps_back)


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
    """Return the recipe of all cells, with a seed drawn if none was given."""
    if "time" in given and "steps" in given:
        raise ConfigError("--time and --steps both say how long; leave one out")
    values = {name.replace("-", "_"): value for name, value in given.items()}
    if "steps" not in values:
        values.setdefault("time", TRIAL_TIME)
    values["steps"] = values.get("steps") or None
    if "seed" not in values:
        values["seed"] = fresh_seed()
        common.warn(f"--seed {values['seed']}")
    return TrainConfig(**values)


def _prepare(threads: int | None) -> None:
    """Set the machine up, before anything is computed."""
    import torch

    from chargen.machine import count_cores, keep_memory

    keep_memory()
    torch.set_num_threads(threads or count_cores())


def _trained_alike(
    kinds: list[str], text: str, encoding: str | None, recipe: TrainConfig, steps_back: int
) -> list[Looked]:
    """Train each cell in memory, for the same time from the same seed, and look into it."""
    fetch_missing([text])
    from chargen.cli.console import Meter, clock, waiting
    from chargen.data.dataset import read_text, tokenize
    from chargen.inspection.gradients import follow_back, rows_before
    from chargen.inspection.trial import PARTS, train_alike

    with waiting("reading the text"):
        read = read_text(ReadConfig((text,), encoding=encoding))
        dataset = tokenize(read, recipe.val_frac)
    rows_before(dataset.validation, steps_back)  # a text too short is told before the training
    for note in read.notes:
        common.warn(note)
    if recipe.time:
        whole = clock(recipe.time * len(kinds))
        common.warn(f"{len(kinds)} x {clock(recipe.time)} = {whole} of training")
    looked = []
    for kind in kinds:
        with Meter(f"training {kind}", PARTS) as progress:
            trial = train_alike(kind, dataset, recipe, progress)
        with waiting("following the loss back"):
            curves = follow_back(trial.model, dataset.validation, steps_back)
        looked.append(Looked(kind, trial.config, curves, trial))
    return looked


def _of_models(
    models: list[str] | None, text: str | None, encoding: str | None, steps_back: int
) -> list[Looked]:
    """Look into trained models, each on the text named or on its own held-out text."""
    from chargen.cli.console import waiting
    from chargen.inspection.gradients import follow_back
    from chargen.model.language_model import LanguageModel

    looked = []
    for saved, segment in side_by_side.measured_models(models, text, encoding):
        model = LanguageModel(saved.config)
        model.load(saved.weights())
        with waiting("following the loss back"):
            curves = follow_back(model, segment, steps_back)
        looked.append(Looked(saved.name, saved.config, curves))
    return looked


def _gradient_chart(looked: list[Looked]) -> Chart:
    """Return the curves of all states, h before c."""
    from chargen.display.charts import Chart, Series

    pairs = [(model, curve) for model in looked for curve in model.curves]
    pairs.sort(key=lambda pair: pair[1].part != "h")  # keeps the order otherwise
    series = [
        Series(_state(model, curve), curve.steps, curve.norms)
        for model, curve in pairs[: side_by_side.MOST_CURVES]
    ]
    title, axis = "How far back the loss reaches", "k, steps back"
    return Chart(title, axis, "norm of the gradient of L_T at T - k", tuple(series), log_y=True)


def _state(model: Looked, curve: Curve) -> str:
    layer = f" {curve.layer}" if len(model.config.layers) > 1 else ""
    return f"{model.name}{layer} {curve.part}"


def _facts(model: Looked) -> dict[str, Any]:
    """Return all that is known of a model, for programs."""
    from chargen.model.spec import count_parameters

    facts: dict[str, Any] = {
        "name": model.name,
        "stack": format_stack(model.config.layers),
        "parameters": count_parameters(model.config),
    }
    if model.trial:
        facts["val_loss"] = model.trial.loss
        facts["steps"] = model.trial.steps
        facts["steps_not_taken"] = model.trial.skipped
        facts["largest_gradient"] = model.trial.largest
    facts["curves"] = [
        {**vars(curve), "reach": curve.reach, "factor": curve.factor} for curve in model.curves
    ]
    return facts


def _print_gradients(looked: list[Looked], steps_back: int) -> None:
    rows = [
        (_state(model, curve), *_ends(curve), _reach(curve, steps_back), _number(curve.factor))
        for model in looked
        for curve in model.curves
    ]
    ends = "k = 0", f"k = {steps_back}"
    side_by_side.print_table(("norm of", *ends, "a hundredth at k", "factor a step"), rows)
    if any(curve.first for model in looked for curve in model.curves):
        print("c counts from k = 1 on: the output reads h alone")
    trials = [(model, model.trial) for model in looked if model.trial]
    if trials:
        print()
        names = ("cell", "weights", "loss, nats", "steps", "not taken", "largest gradient")
        side_by_side.print_table(names, [_trial_row(model, trial) for model, trial in trials])
    if any(trial.skipped for _, trial in trials):
        print("not taken: steps whose gradient was not finite, so that they would spoil all")


def _ends(curve: Curve) -> tuple[str, str]:
    return "-" if curve.first else _number(curve.norms[0]), _number(curve.norms[-1])


def _reach(curve: Curve, steps_back: int) -> str:
    """Return in words where the norm has fallen to a hundredth."""
    if curve.reach is not None:
        return f"{curve.reach:.1f}"
    return "never: it grows" if (curve.factor or 0) > 1 else f"beyond {steps_back}"


def _trial_row(model: Looked, trial: Trial) -> tuple[str, ...]:
    from chargen.model.spec import count_parameters

    stack, weights = format_stack(model.config.layers), f"{count_parameters(model.config):,}"
    steps = f"{trial.steps:,}", f"{trial.skipped:,}"
    return stack, weights, f"{trial.loss:.3f}", *steps, _number(trial.largest)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
