"""``chargen inspect memory``: how the loss rises when only the last characters are known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from chargen.cli import common, side_by_side

if TYPE_CHECKING:
    from typing import Any

    from chargen.display.charts import Chart, Series
    from chargen.inspection.memory import Known, Memory

SEEN_RISE = 1e-3  # bits per character: smaller rises are not drawn


def memory(
    text: side_by_side.File = None,
    model: side_by_side.Models = None,
    longest: Annotated[int, typer.Option(min=1, max=1 << 20, help="The largest k.")] = 256,
    plot: side_by_side.Plot = None,
    as_json: side_by_side.Json = False,
    encoding: common.Encoding = None,
    device: common.Device = "auto",
    threads: common.Threads = None,
) -> None:
    """Show how the loss rises when only the last k characters are known.

    With a tokenizer of pieces (unigram, bpe), k counts tokens.
    """
    common.check_machine(device, threads)
    from chargen.display import charts

    if plot:
        charts.check_picture(plot)

    from chargen.cli.console import Meter
    from chargen.display.output import visible
    from chargen.engine import open_engine
    from chargen.inspection.memory import PARTS, measure_memory

    measured, units = [], set()
    for saved, segment in side_by_side.measured_models(model, text, encoding):
        engine = open_engine(saved, device, threads)
        with Meter("asking the model", PARTS) as progress:
            found = measure_memory(engine, segment, longest, progress)
        measured.append((saved.name, found))
        units.add({"char": "characters", "byte": "bytes"}.get(saved.tokenizer.kind, "tokens"))
    unit = units.pop() if len(units) == 1 else "tokens"
    chart = _memory_chart(measured, unit)
    if plot:
        charts.save(chart, plot)
    if as_json:
        side_by_side.write_json(
            {"unit": unit, "models": [_memory_facts(*pair) for pair in measured]}
        )
        return
    print(charts.as_text(chart))
    print()
    if len(measured) == 1:
        _print_losses(measured[0][1], unit)
    else:
        _print_rises(measured, unit)
    for name, found in measured:
        print(visible(f"{name}: {_enough(found, unit)}"))


def _memory_chart(measured: list[tuple[str, Memory]], unit: str) -> Chart:
    from chargen.display.charts import Chart, Series

    def curve(name: str, found: Memory) -> Series:
        drawn = [known for known in found.known if known.rise >= SEEN_RISE]
        return Series(name, [known.k for known in drawn], [known.rise for known in drawn])

    title, axis = "What it costs to know the last k only", f"k, {unit} known"
    height = f"rise in bits per character ({SEEN_RISE} or more)"
    series = tuple(curve(*pair) for pair in measured[: side_by_side.MOST_CURVES])
    return Chart(title, axis, height, series, log_x=True, log_y=True)


def _memory_facts(name: str, found: Memory) -> dict[str, Any]:
    facts = {**vars(found), "enough": found.enough, "known": [vars(k) for k in found.known]}
    return {"name": name, **facts}


def _print_losses(found: Memory, unit: str) -> None:
    """Print what a model needs with k known, and with all."""
    rows = [
        (f"{known.k:,}", f"{known.nats:.4f}", f"{known.bits:.4f}", _rise(known))
        for known in found.known
    ]
    rows.append(("all before", f"{found.nats:.4f}", f"{found.bits:.4f}", ""))
    side_by_side.print_table(
        (f"{unit} known", "nats per token", "bits per character", "rise, 95 %"), rows
    )


def _print_rises(measured: list[tuple[str, Memory]], unit: str) -> None:
    """Print the rises of several models side by side, in bits per character."""
    rises = [{known.k: _rise(known) for known in found.known} for _, found in measured]
    rows = [
        (f"{k:,}", *(by_length.get(k, "") for by_length in rises))
        for k in sorted(set().union(*rises))
    ]
    rows.append(("bits, all known", *(f"{found.bits:.4f}" for _, found in measured)))
    side_by_side.print_table((f"{unit} known", *(name for name, _ in measured)), rows)


def _rise(known: Known) -> str:
    return f"{round(known.rise, 4) + 0.0:+.4f} ± {known.either_side:.4f}"  # never -0.0000


def _enough(found: Memory, unit: str) -> str:
    """Return in words from how many characters on nothing is lost."""
    from chargen.inspection.memory import NEAR

    words = f"more than {found.known[-1].k:,} {unit} are needed to be"
    if found.enough is not None:
        words = f"from {found.enough:,} {unit} on it is"
    return f"{words} within {NEAR} bits of knowing all ({found.places:,} places)"
