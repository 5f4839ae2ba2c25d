"""``chargen inspect neurons`` and ``gates``: activations and gates of a model along a text."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chargen.cli import common, side_by_side
from chargen.errors import ConfigError
from chargen.machine.torch import need_torch, use_threads

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from chargen.data.dataset import Segment
    from chargen.inspection.gates import Saturation
    from chargen.inspection.neurons import Comparison, Find, Reading
    from chargen.inspection.passages import Line, Passage
    from chargen.model.saved import SavedModel

BEST = 3  # units of which a passage is shown
COLUMNS = ("feature", "unit", "first half", "held-out half", "untrained")
GATE_COLUMNS = ("layer", "gate", "below 0.1", "units", "above 0.9", "units")
COLOURS = "blue: low activation, red: high activation"
DIGITS = "digit below each character: activation from 0, the lowest, to 9, the highest"


def neurons(
    text: side_by_side.File = None,
    model: common.Model = None,
    unit: Annotated[
        list[str] | None,
        typer.Option(help="Unit to show: state, layer and number, as in c1:123; repeatable."),
    ] = None,
    as_json: side_by_side.Json = False,
    plot: side_by_side.Plot = None,
    encoding: common.Encoding = None,
    threads: common.Threads = None,
) -> None:
    """Find units that follow a feature of the text, and colour a passage by their activation.

    The features are the position in line, sentence and paragraph, quotes,
    brackets, indentation, capitals and comments. Units and features are
    correlated within steps with the same last two characters. A unit is
    shown if its correlation is much higher than that of any unit of an
    untrained network, on both halves of the text.
    """
    need_torch("chargen inspect neurons")
    saved, segment = _opened(text, encoding, model, plot)
    given = _unit_places(unit or [], saved)

    from chargen.cli.console import waiting
    from chargen.engine import open_engine
    from chargen.inspection.neurons import compare, find_units, relations

    with waiting("reading the text"):
        engine = open_engine(saved, "cpu", threads)
        compared = compare(engine, saved.config, saved.section("config"), segment)
    finds = find_units(compared)
    if given:
        finds = [find for place in given for find in relations(compared, place)]
    shown = _passages(compared.reading, finds, saved, given)
    if plot and shown:
        from chargen.display.charts import save_figure
        from chargen.inspection.passages import draw

        save_figure(draw(shown), plot)
    elif plot:
        common.warn(f"no unit to draw: {str(plot)!r} is not written")
    if as_json:
        print(json.dumps(_facts(compared.reading, finds, shown, saved), indent=2))
    else:
        _tell_how(compared)
        _show(finds, shown, saved)


def _tell_how(compared: Comparison) -> None:
    """Report the size of the comparison, and the features that were left out."""
    from chargen.inspection.features import FEATURES
    from chargen.inspection.neurons import CHANGES

    size = sum(map(len, compared.reading.pieces))
    common.warn(f"{size:,} characters read, {compared.own.values.shape[1]:,} units compared")
    left_out = [name for name, there in zip(FEATURES, compared.kept, strict=True) if not there]
    if left_out:
        why = f"fewer than {CHANGES} changes in one half of the text"
        common.warn(f"left out: {', '.join(left_out)} ({why})")


def _opened(
    text: str | None, encoding: str | None, model: str | None, plot: Path | None
) -> tuple[SavedModel, Segment]:
    """Check the picture file, and open the model and the text."""
    from chargen.display.charts import check_picture

    if plot:
        check_picture(plot)
    models = None if model is None else [model]
    (opened,) = side_by_side.measured_models(models, text, encoding)
    return opened


def _unit_places(names: list[str], saved: SavedModel) -> list[int]:
    from chargen.inspection.neurons import unit_names, unit_parts

    known = {name: place for place, name in enumerate(unit_names(saved.config))}
    for name in names:
        if name not in known:
            parts = [f"{part}:0 to {part}:{width - 1}" for part, width in unit_parts(saved.config)]
            raise ConfigError(f"unit is {name!r}; allowed: {', '.join(parts)}")
    return [known[name] for name in names]


def _passages(
    reading: Reading, finds: list[Find], saved: SavedModel, given: list[int]
) -> list[tuple[str, Passage]]:
    """Return the passages of the given units, or of the best ones, each with its title."""
    from chargen.inspection.neurons import unit_names
    from chargen.inspection.passages import passage

    names = unit_names(saved.config)
    titles = {place: names[place] for place in given}
    for find in () if given else finds:
        words = f"{names[find.unit]} follows {find.feature} ({find.held_out:+.2f})"
        titles.setdefault(find.unit, words)
    places = given or list(titles)[:BEST]
    return [(titles[place], passage(reading, place)) for place in places]


def _facts(
    reading: Reading,
    finds: list[Find],
    shown: list[tuple[str, Passage]],
    saved: SavedModel,
) -> dict[str, Any]:
    from chargen.inspection.neurons import unit_names
    from chargen.tokenizers.byte import replaced

    names = unit_names(saved.config)
    return {
        "model": str(saved.path),
        "characters": sum(map(len, reading.pieces)),
        "units": len(names),
        "correlations": [
            {
                "feature": find.feature,
                "unit": names[find.unit],
                "first_half": find.first,
                "held_out_half": find.held_out,
                "untrained": find.untrained,
            }
            for find in finds
        ],
        "passages": [
            {
                "unit": title.partition(" ")[0],
                "pieces": [replaced(piece) for piece in part.pieces],
                "levels": [round(level, 3) for level in part.levels],
            }
            for title, part in shown
        ],
    }


def _show(finds: list[Find], shown: list[tuple[str, Passage]], saved: SavedModel) -> None:
    from chargen.cli.console import has_colour, stdout
    from chargen.display.output import Output
    from chargen.inspection.neurons import unit_names

    Output(sys.stdout)  # UTF-8 regardless of the locale
    names, console = unit_names(saved.config), stdout()
    if finds:
        rows = [
            (
                find.feature,
                names[find.unit],
                *(f"{value:+.2f}" for value in (find.first, find.held_out)),
                f"{find.untrained:.2f}",
            )
            for find in finds
        ]
        side_by_side.print_table(COLUMNS, rows, words=2)
    elif not shown:
        print("nothing found: no unit follows a feature better than those of untrained networks")
    for title, part in shown:
        print(f"\n{title}")
        _show_passage(part, console)
    if shown:
        common.warn(COLOURS if has_colour(console) else DIGITS)


def _show_passage(part: Passage, console: Console) -> None:
    """Show a passage in colours, or with a digit below each character."""
    from chargen.cli.console import has_colour
    from chargen.inspection.passages import lines

    for line in lines(part, console.width):
        if has_colour(console):
            console.print(_coloured(line), soft_wrap=True)
        else:
            print("".join(look for look, _ in line))
            print(_digits(line))


def _coloured(line: Line) -> Text:
    from rich.text import Text

    from chargen.inspection.passages import colour

    return Text.assemble(*((look, f"black on {colour(step)}") for look, step in line))


def _digits(line: Line) -> str:
    from rich.cells import cell_len

    return "".join(str(step) * cell_len(look) for look, step in line)


# -- gates --------------------------------------------------------------------------------


def gates(
    text: side_by_side.File = None,
    model: common.Model = None,
    as_json: side_by_side.Json = False,
    plot: side_by_side.Plot = None,
    encoding: common.Encoding = None,
    threads: common.Threads = None,
) -> None:
    """Show how often the gates of each layer are nearly closed or nearly open along a text.

    A gate is left-saturated below 0.1 and right-saturated above 0.9 (Karpathy et al. 2015).
    """
    need_torch("chargen inspect gates")
    saved, segment = _opened(text, encoding, model, plot)

    from chargen.cli.console import waiting
    from chargen.inspection.gates import draw, saturation
    from chargen.model.language_model import LanguageModel

    use_threads(threads)
    network = LanguageModel(saved.config)
    network.load(saved.weights())
    with waiting("reading the text"):
        found = saturation(network, segment)
    if plot and found:
        from chargen.display.charts import save_figure

        save_figure(draw(found), plot)
    elif plot:
        common.warn(f"no gates to draw: {str(plot)!r} is not written")
    if as_json:
        print(json.dumps([_gate_facts(part) for part in found], indent=2))
    else:
        _show_gates(found, saved)


def _gate_facts(part: Saturation) -> dict[str, Any]:
    from chargen.inspection.gates import MEANINGS

    return {
        "layer": part.layer,
        "gate": part.gate,
        "meaning": MEANINGS[part.gate],
        "left": part.left.round(4).tolist(),
        "right": part.right.round(4).tolist(),
    }


def _show_gates(found: list[Saturation], saved: SavedModel) -> None:
    from chargen.display.charts import as_text
    from chargen.display.output import Output
    from chargen.inspection.gates import MEANINGS, MOSTLY, charts

    Output(sys.stdout)  # UTF-8 regardless of the locale
    if not found:
        print(f"{saved.config.to_json()['stack']} has no gates")
        return
    rows = [
        (
            str(part.layer),
            part.gate,
            *(
                f"{100 * value:.1f} %"
                for side in (part.left, part.right)
                for value in (side.mean(), (side > MOSTLY).mean())
            ),
        )
        for part in found
    ]
    side_by_side.print_table(GATE_COLUMNS, rows, words=2)
    steps = f"more than {100 * MOSTLY:.0f} % of the steps"
    print(f"\nunits: fraction of the units for which this holds at {steps}")
    for name in dict.fromkeys(part.gate for part in found):
        print(f"{name}: {MEANINGS[name]}")
    for chart in charts(found):
        print(f"\n{as_text(chart)}")
