"""``chargen eval``: the loss of a model on a text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chargen.cli import common, side_by_side
from chargen.cli.corpus import fetch_missing
from chargen.config import require
from chargen.errors import CheckpointError, ConfigError
from chargen.machine.torch import need_torch

if TYPE_CHECKING:
    from chargen.data.dataset import Dataset, Segment
    from chargen.evaluation.dynamic import Adapter
    from chargen.evaluation.report import Report, Row
    from chargen.model.saved import SavedModel

COLUMNS = ("nats/token", "bits/char", "±", "bits/byte", "perplexity", "accuracy")


def evaluate(
    text: Annotated[
        str | None,
        typer.Argument(help="Text file; default: the held-out part of the model's own corpus."),
    ] = None,
    model: common.Model = None,
    window: Annotated[
        int | None,
        typer.Option(help="Evaluate stateless, in windows of N tokens only."),
    ] = None,
    dynamic: Annotated[
        bool,
        typer.Option(
            "--dynamic",
            help="Add dynamic evaluation: the model remembers and learns what it reads.",
        ),
    ] = False,
    with_ngram: Annotated[
        bool, typer.Option("--with-ngram", help="Add a mixture with the n-gram baseline.")
    ] = False,
    temperature_fit: Annotated[
        bool, typer.Option("--temperature-fit", help="Add the best temperature.")
    ] = False,
    encoding: common.Encoding = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object.")] = False,
    device: common.Device = "auto",
    threads: common.Threads = None,
) -> None:
    """Measure the loss of a model on a text, beside n-grams, compressors and chance.

    Options that tune something tune on the first half and report on the second. Records, and texts
    with labels, are read each from the initial state; then there are no windows.
    """
    common.check_machine(device, threads)
    if dynamic:
        need_torch("chargen eval --dynamic")
    if window and (dynamic or with_ngram or temperature_fit):
        raise ConfigError("--window measures stateless windows alone; leave it or the others out")
    side_by_side.check_encoding(text, encoding)
    require(window is None or window >= 1, "window", window, "1 or more tokens")
    from chargen.cli.console import Meter
    from chargen.engine import open_engine
    from chargen.evaluation.report import Wanted, report
    from chargen.model.saved import open_model

    saved = open_model(model)
    _check_protocol(saved, window, dynamic=dynamic)
    segment, learned = _texts(saved, text, encoding, needed=dynamic or with_ngram)
    window = window and min(window, len(segment))  # a longer one reads the same
    engine = open_engine(saved, device, threads)
    adapter = (lambda: _adapter(saved, learned)) if dynamic else None
    wanted = Wanted(window, temperature_fit, with_ngram, adapter)
    result = report(engine, segment, learned, wanted, Meter)
    if as_json:
        print(json.dumps(_json(saved.path, text, segment, result), indent=2))
        return
    for line in _heading(saved, text, segment):
        print(line)
    _show(result.whole + result.baselines)
    if result.half:
        alone = "the second half alone" if segment.texts is None else "half of the texts"
        other = "the first" if segment.texts is None else "the other half"
        print(f"\n{alone}, with what was chosen on {other}")
        _show(result.half)
    for line in _footing(result, segment):
        print(line)


# -- texts --------------------------------------------------------------------------------


def _check_protocol(saved: SavedModel, window: int | None, *, dynamic: bool) -> None:
    """Refuse what is not defined for texts that are read each from the initial state.

    Raises:
        ConfigError: it was asked for.
    """
    option = "--dynamic" if dynamic else "--window" if window else None
    if option and (saved.reading.records or saved.reading.label):
        kind = "records" if saved.reading.records else "texts with labels"
        raise ConfigError(
            f"{option} reads one text that goes on, but this model reads {kind}, each from the "
            "initial state; leave it out"
        )


def _texts(
    saved: SavedModel, text: str | None, encoding: str | None, *, needed: bool
) -> tuple[Segment, Dataset | None]:
    """Return the text to measure, and the model's own corpus, if that is at hand.

    Raises:
        CheckpointError: the training text is needed and not at hand.
    """
    if text is not None:
        fetch_missing([text])
    from chargen.cli.console import waiting
    from chargen.evaluation.heldout import held_out, own_dataset, whole_text
    from chargen.evaluation.protocols import SCORED

    with waiting("reading the text"):
        if text is None:
            dataset = own_dataset(saved)
            return _limited(held_out(dataset), SCORED), dataset
        segment = whole_text(text, saved, encoding)
        for note in segment.notes:
            common.warn(note)
        try:
            learned = own_dataset(saved)
        except CheckpointError as error:
            if needed:
                raise
            common.warn(f"n-grams and compressors are left out: {error}")
            return segment, None
    _warn_of_known(learned, segment)
    return segment, learned


def _warn_of_known(learned: Dataset, segment: Segment) -> None:
    """Say whether a text, or some of several, is part of what the model was trained on."""
    from chargen.evaluation.report import contains, known_texts

    if segment.texts is None:
        if contains(learned.train, segment.ids):
            common.warn("this text is part of what the model was trained on: its loss is too low")
        return
    known, count = known_texts(learned.train, segment)
    if known:
        drawn = ", drawn at random" if count < len(segment.texts) else ""
        common.warn(f"texts that are in the training part as well: {known} of {count}{drawn}")


def _limited(segment: Segment, most: int) -> Segment:
    from chargen.evaluation.groups import spread

    if len(segment) > most:
        first = "the first" if segment.texts is None else "some texts drawn at random, with"
        common.warn(f"{first} {most:,} of {len(segment):,} tokens are measured")
    return spread(segment, most)


def _adapter(saved: SavedModel, learned: Dataset | None) -> Adapter:
    """Open the model for dynamic evaluation."""
    import torch

    from chargen.evaluation.dynamic import Adapter

    assert learned is not None
    torch.set_num_threads(1)  # batch size 1, small products: more threads only wait for each other
    counts = saved.counts() if saved.mixture else None
    return Adapter(saved.config, saved.weights(), learned.train, counts, saved.mixture)


# -- output -------------------------------------------------------------------------------


def _heading(saved: SavedModel, text: str | None, segment: Segment) -> list[str]:
    from chargen.display.output import visible
    from chargen.model.spec import format_stack

    own = ", ".join(map(str, saved.section("corpus").get("sources") or ["its text"]))
    place = f"what was held out of {own}" if text is None else text
    if segment.texts is not None:
        count = len(segment.texts)
        place = f"{count:,} text{'s' * (count != 1)}, {place}"
    name, stack = saved.name, format_stack(saved.config.layers)
    lines = (
        f"model  {name}: {stack}, {saved.tokenizer.kind} tokenizer",
        f"text   {place}: {segment.characters:,} characters",
    )
    return [*map(visible, lines), ""]


def _show(rows: list[Row]) -> None:
    table = [(row.name, *_cells(row)) for row in rows]
    side_by_side.print_table(("", *COLUMNS), table, gap=1)


def _cells(row: Row) -> list[str]:
    own = row.score
    margin, accuracy = own.margin, own.accuracy
    return [
        f"{own.nats_per_token:.4f}",
        f"{own.bits_per_char:.4f}",
        "" if margin is None else f"{margin:.4f}",
        f"{own.bits_per_byte:.4f}",
        f"{own.perplexity:.2f}",
        "" if accuracy is None else f"{accuracy:.1%}",
    ]


def _footing(result: Report, segment: Segment) -> list[str]:
    """Return what has to be said of the figures."""
    from chargen.evaluation.report import has_labels

    lines = []
    if segment.texts is not None:
        label = ", with its label" if has_labels(segment) else ""
        lines.append(f"per text: each is read from the initial state{label}")
    if result.whole[0].score.margin is not None:
        lines.append("± half of the 95 % interval of bits/char, from blocks of the text")
    for row in result.half:
        chosen = ", ".join(f"{name} {value:g}" for name, value in row.chosen.items())
        lines += [f"{row.name}: {chosen}"] if chosen and row.key != "kneser_ney" else []
    return ["", *lines] if lines else []


def _json(path: Path, text: str | None, segment: Segment, result: Report) -> dict[str, Any]:
    """Return the report by names: the figures that speak for the model stand at the top."""
    first, *more = result.whole
    return {
        "model": str(path),
        "text": text,
        "protocol": first.key,
        **({} if segment.texts is None else {"texts": len(segment.texts)}),
        "characters": segment.characters,
        "tokens": len(segment),
        "bytes": round(first.score.bytes),
        **first.to_json(),
        **{row.key: row.to_json() for row in more},
        "baselines": {row.key: row.to_json() for row in result.baselines},
        "second_half": {row.key: row.to_json() for row in result.half},
    }
