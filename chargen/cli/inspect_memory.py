"""``chargen inspect memory``: loss of a model that knows only the last characters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from chargen.cli import common, side_by_side
from chargen.config import require

if TYPE_CHECKING:
    from typing import Any

    from chargen.display.charts import Chart, Series
    from chargen.inspection.memory import Known, Memory

LEAST_RISE = 1e-3  # bits per character; the chart leaves out smaller rises
LONGEST = 1 << 20


def memory(
    text: side_by_side.File = None,
    model: side_by_side.Models = None,
    longest: Annotated[int, typer.Option(help="Largest k.")] = 256,
    plot: side_by_side.Plot = None,
    as_json: side_by_side.Json = False,
    encoding: common.Encoding = None,
    device: common.Device = "auto",
    threads: common.Threads = None,
) -> None:
    """Show the increase of the loss when only the last k characters are known.

    With a subword tokenizer (unigram, bpe), k is a number of tokens.
    """
    common.check_machine(device, threads)
    require(1 <= longest <= LONGEST, "longest", longest, f"1 to {LONGEST}")
    from chargen.display import charts

    if plot:
        charts.check_picture(plot)

    from chargen.cli.console import Meter
    from chargen.engine import open_engine
    from chargen.inspection.memory import PARTS, measure_memory

    measured, units = [], set()
    for saved, segment in side_by_side.measured_models(model, text, encoding):
        engine = open_engine(saved, device, threads)
        with Meter("evaluating the model", PARTS) as progress:
            found = measure_memory(engine, segment, longest, progress)
        measured.append((saved.name, found))
        units.add({"char": "characters", "byte": "bytes"}.get(saved.tokenizer.kind, "tokens"))
    unit = units.pop() if len(units) == 1 else "tokens"
    if plot:
        charts.save(_memory_chart(measured, unit), plot)
    if as_json:
        models = [_memory_facts(*pair) for pair in measured]
        side_by_side.write_json({"unit": unit, "models": models})
    else:
        _show(measured, unit)


def _show(measured: list[tuple[str, Memory]], unit: str) -> None:
    """Show the chart, the table and a sentence per model."""
    from chargen.display.charts import as_text
    from chargen.display.output import visible

    print(as_text(_memory_chart(measured, unit)), end="\n\n")
    if len(measured) == 1:
        _print_losses(measured[0][1], unit)
    else:
        _print_rises(measured, unit)
    for name, found in measured:
        print(visible(f"{name}: {_enough(found)}"))


def _memory_chart(measured: list[tuple[str, Memory]], unit: str) -> Chart:
    from chargen.display.charts import Chart, Series

    def curve(name: str, found: Memory) -> Series:
        shown = [known for known in found.known if known.rise >= LEAST_RISE]
        return Series(name, [known.k for known in shown], [known.rise for known in shown])

    title, axis = "Increase of the loss when only the last k are known", f"k, {unit} known"
    height = f"increase in bits per character ({LEAST_RISE} or more)"
    series = tuple(curve(*pair) for pair in measured[: side_by_side.MOST_CURVES])
    return Chart(title, axis, height, series, log_x=True, log_y=True)


def _memory_facts(name: str, found: Memory) -> dict[str, Any]:
    facts = {**vars(found), "enough": found.enough, "known": [vars(k) for k in found.known]}
    return {"name": name, **facts}


def _print_losses(found: Memory, unit: str) -> None:
    """Print the losses of a model for each k, and with the full context."""
    rows = [
        (f"{known.k:,}", f"{known.nats:.4f}", f"{known.bits:.4f}", _rise(known))
        for known in found.known
    ]
    rows.append(("all", f"{found.nats:.4f}", f"{found.bits:.4f}", ""))
    names = f"{unit} known", "nats per token", "bits per character", "increase, 95 % CI"
    side_by_side.print_table(names, rows)


def _print_rises(measured: list[tuple[str, Memory]], unit: str) -> None:
    """Print the increases of several models side by side, in bits per character."""
    rises = [{known.k: _rise(known) for known in found.known} for _, found in measured]
    rows = [
        (f"{k:,}", *(by_length.get(k, "") for by_length in rises))
        for k in sorted(set().union(*rises))
    ]
    rows.append(("bits, all known", *(f"{found.bits:.4f}" for _, found in measured)))
    side_by_side.print_table((f"{unit} known", *(name for name, _ in measured)), rows)


def _rise(known: Known) -> str:
    return f"{round(known.rise, 4) + 0.0:+.4f} ± {known.either_side:.4f}"  # never -0.0000


def _enough(found: Memory) -> str:
    """Return a sentence with the k that is as good as the full context."""
    from chargen.inspection.memory import NEAR

    near = f"within {NEAR} bits of the full context ({found.places:,} positions)"
    if found.enough is None:
        return f"k = {found.known[-1].k:,} is not {near}"
    return f"k >= {found.enough:,} is {near}"
