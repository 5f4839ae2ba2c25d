"""Runs side by side: what they are, what they cost, how well they do, and how they learned."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chargen.display.charts import Chart, Series
from chargen.model.saved import read_model
from chargen.model.spec import count_parameters
from chargen.model.summary import history, number
from chargen.storage.checkpoint import METRICS, MODEL, read_metrics
from chargen.storage.runs import model_name

MOST = 8  # runs in one comparison: as many as a chart can tell apart
LATER = 4  # all of a curve but its first quarter is always shown
MINUTES = 300  # seconds from which on a chart counts minutes


@dataclass(frozen=True)
class Point:
    """One evaluation: when it was and what it found."""

    step: int
    seconds: float
    bits_per_char: float


@dataclass(frozen=True)
class Entry:
    """One run in a comparison; what its file does not say is None.

    Attributes:
        run: its name.
        file: the model file.
        stack: cells and widths, bottom first.
        embedding: width of the token embedding.
        parameters: number of weights.
        tokenizer: its kind.
        vocab_size: number of tokens.
        corpus: names of the texts.
        corpus_sha256: of all of them.
        val_frac: share of the text held out for validation.
        test_frac: share held out after that.
        steps: optimizer steps taken.
        seconds: that they took.
        finished: whether the end of the run was reached; else the losses are the best so far.
        bits_per_char: loss of the held-out part, comparable across tokenizers.
        nats_per_token: the same with the state carried along; so far: in warmed lanes.
        nats_per_token_fresh_windows: the same in windows of 256 tokens from a fresh state.
        floor_nats_per_token: what counting alone reaches.
        curve: the evaluations.
    """

    run: str
    file: str
    stack: str
    embedding: int
    parameters: int
    tokenizer: str
    vocab_size: int
    corpus: tuple[str, ...]
    corpus_sha256: str | None
    val_frac: float | None
    test_frac: float | None
    steps: float | None
    seconds: float | None
    finished: bool
    bits_per_char: float | None
    nats_per_token: float | None
    nats_per_token_fresh_windows: float | None
    floor_nats_per_token: float | None
    curve: tuple[Point, ...]

    @property
    def task(self) -> tuple[object, ...]:
        """What must be equal for two losses to compare: the text and what of it is held out."""
        return self.corpus_sha256, self.val_frac, self.test_frac


def read_entry(path: Path) -> Entry:
    """Read what a model file, and the metrics beside it, tell of a run.

    Raises:
        CheckpointError: the file is missing, damaged or foreign.
    """
    header = read_model(path)
    training, config = header.training, header.config
    corpus, recipe = header.section("corpus"), header.section("config")
    own, sources = path.name == MODEL, corpus.get("sources")
    curve = _curve(path.parent, training) if own else _curve(None, training)
    final = number(training.get("final_val_loss"))
    finished = final is not None or _ended(path.parent if own else None)
    return Entry(
        run=model_name(path),
        file=str(path),
        stack=config.to_json()["stack"],
        embedding=config.embedding,
        parameters=count_parameters(config),
        tokenizer=header.tokenizer.kind,
        vocab_size=config.vocab_size,
        corpus=tuple(str(name) for name in sources) if isinstance(sources, list) else (),
        corpus_sha256=corpus.get("sha256"),
        val_frac=number(recipe.get("val_frac")),
        test_frac=number(recipe.get("test_frac")),
        steps=number(training.get("step")),
        seconds=number(training.get("seconds")),
        finished=finished,
        bits_per_char=_bits(training, curve),
        nats_per_token=number(training.get("best_val_loss")) if final is None else final,
        nats_per_token_fresh_windows=number(training.get("final_stateless_loss")),
        floor_nats_per_token=number(_floor(corpus).get("nats_per_token")),
        curve=curve,
    )


def _floor(corpus: dict[str, Any]) -> dict[str, Any]:
    found = corpus.get("floor")
    return found if isinstance(found, dict) else {}


def _bits(training: dict[str, Any], curve: tuple[Point, ...]) -> float | None:
    """Return the final loss in bits per character, or the best so far."""
    final = number(training.get("final_val_bits_per_char"))
    so_far = min((point.bits_per_char for point in curve), default=None)
    return so_far if final is None else final


def _curve(run: Path | None, training: dict[str, Any]) -> tuple[Point, ...]:
    """Return the evaluations, from the run's metrics or else from the model's own history.

    The history has neither times nor bits: these are then those of steps that all took the
    same time, and of characters as many to a token as at the end.
    """
    if run is not None and (run / METRICS).exists():
        names = "step", "seconds", "val_bits_per_char"
        lines = [line for line in read_metrics(run) if line["event"] == "evaluation"]
        rows = [tuple(number(line.get(name)) for name in names) for line in lines]
    else:
        a_step, a_nat = _seconds_a_step(training), _bits_a_nat(training)
        rows = [
            (step, _product(step, a_step), _product(loss, a_nat))
            for step, _, loss in history(training)
        ]
    return tuple(
        Point(int(step), seconds, bits)
        for step, seconds, bits in rows
        if step is not None and seconds is not None and bits is not None
    )


def _product(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one * other


def _seconds_a_step(training: dict[str, Any]) -> float | None:
    seconds, steps = number(training.get("seconds")), number(training.get("step"))
    return seconds / steps if seconds is not None and steps else None


def _bits_a_nat(training: dict[str, Any]) -> float | None:
    names = "final_val_bits_per_char", "final_val_loss"
    bits, nats = (number(training.get(name)) for name in names)
    return bits / nats if bits is not None and nats else None


def _ended(run: Path | None) -> bool:
    return run is not None and any(line["event"] == "end" for line in read_metrics(run))


# -- judging ------------------------------------------------------------------------------


def best_of(entries: Sequence[Entry]) -> Entry | None:
    """Return the run of the lowest loss among those whose losses compare with the first's."""
    rivals = [e for e in entries if e.task == entries[0].task and e.bits_per_char is not None]
    return min(rivals, key=lambda e: e.bits_per_char or 0.0) if len(rivals) > 1 else None


def differences(entries: Sequence[Entry]) -> list[str]:
    """Say of each run whose losses do not compare with the first's why that is so."""
    first, notes = entries[0], []
    for entry in entries[1:]:
        if entry.task == first.task:
            continue
        other = entry.corpus_sha256 != first.corpus_sha256
        why = "learned another text" if other else "held out another part of the text"
        notes.append(f"{entry.run} {why}: its losses do not compare with those of {first.run}")
    return notes


def learning_curves(entries: Sequence[Entry]) -> Chart:
    """Return the held-out loss of each run against the time that it took.

    At first every model falls steeply from nearly the same height, and all that tells them
    apart comes later: what lies above the highest point of any curve's later three quarters is
    left out.
    """
    longest = max((p.seconds for entry in entries for p in entry.curve), default=0.0)
    unit, name = (60.0, "minutes") if longest >= MINUTES else (1.0, "seconds")
    later = [p for entry in entries for p in entry.curve[len(entry.curve) // LATER :]]
    ceiling = max((p.bits_per_char for p in later), default=math.inf)
    series = []
    for entry in entries:
        shown = [p for p in entry.curve if p.bits_per_char <= ceiling]
        x, y = [p.seconds / unit for p in shown], [p.bits_per_char for p in shown]
        series.append(Series(entry.run, x, y))
    left_out = any(p.bits_per_char > ceiling for entry in entries for p in entry.curve)
    words = f" (above {ceiling:.2f} left out)" if left_out else ""
    title = f"Loss of the held-out text while learning{words}"
    return Chart(title, f"{name} of training", "bits per character", tuple(series))
