"""Comparison of runs: architecture, time, losses and learning curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chargen.display.charts import Chart, Series
from chargen.model.saved import read_model
from chargen.model.spec import count_parameters
from chargen.model.summary import history, ngram_baseline, number
from chargen.storage.checkpoint import METRICS, MODEL, read_metrics

MOST = 8  # most runs in one comparison, as many as a chart can distinguish
LATER = 4  # the chart always shows a curve after its first quarter
MINUTES = 300  # seconds from which a chart uses minutes


@dataclass(frozen=True)
class Point:
    """One evaluation: its step, its time and its loss."""

    step: int
    seconds: float
    bits_per_char: float


@dataclass(frozen=True)
class ComparedRun:
    """One run in a comparison; facts that are missing in its files are None.

    Attributes:
        name: name of the run.
        file: the model file.
        stack: cells and widths, bottom first.
        embedding: size of the token embedding.
        parameters: number of parameters.
        tokenizer: kind of the tokenizer.
        vocab_size: number of token ids.
        corpus: names of the texts.
        corpus_sha256: checksum of the corpus.
        val_frac: fraction of the text for validation.
        test_frac: fraction of the text for testing, after that.
        split_seed: of which records are held out.
        steps: optimizer steps taken.
        seconds: time of the run.
        finished: whether the run has ended; otherwise the losses are the best so far.
        bits_per_char: validation loss, comparable across tokenizers.
        nats_per_token: validation loss, stateful; before the end of a run, in warmed-up streams.
        nats_per_token_stateless: validation loss in stateless windows of 256 tokens.
        ngram_nats_per_token: loss of the n-gram baseline.
        curve: the evaluations.
    """

    name: str
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
    split_seed: float
    steps: float | None
    seconds: float | None
    finished: bool
    bits_per_char: float | None
    nats_per_token: float | None
    nats_per_token_stateless: float | None
    ngram_nats_per_token: float | None
    curve: tuple[Point, ...]

    @property
    def task(self) -> tuple[object, ...]:
        """The text and its split; losses are comparable only if these are equal."""
        return self.corpus_sha256, self.val_frac, self.test_frac, self.split_seed


def read_run(path: Path) -> ComparedRun:
    """Read the facts about a run from its model file and the metrics beside it.

    Raises:
        CheckpointError: the file is missing or damaged, or not a chargen model.
    """
    saved = read_model(path)
    training, config = saved.training, saved.config
    corpus, recipe = saved.section("corpus"), saved.section("config")
    own, sources = path.name == MODEL, corpus.get("sources")
    curve = _curve(path.parent, training) if own else _curve(None, training)
    final = number(training.get("final_val_loss"))
    finished = final is not None or _ended(path.parent if own else None)
    return ComparedRun(
        name=saved.name,
        file=str(path),
        stack=config.to_json()["stack"],
        embedding=config.embedding,
        parameters=count_parameters(config),
        tokenizer=saved.tokenizer.kind,
        vocab_size=config.vocab_size,
        corpus=tuple(str(name) for name in sources) if isinstance(sources, list) else (),
        corpus_sha256=corpus.get("sha256"),
        val_frac=number(recipe.get("val_frac")),
        test_frac=number(recipe.get("test_frac")),
        split_seed=number(corpus.get("split_seed")) or 0,
        steps=number(training.get("step")),
        seconds=number(training.get("seconds")),
        finished=finished,
        bits_per_char=_bits(training, curve),
        nats_per_token=number(training.get("best_val_loss")) if final is None else final,
        nats_per_token_stateless=number(training.get("final_stateless_loss")),
        ngram_nats_per_token=(ngram_baseline(corpus) or {}).get("nats_per_token"),
        curve=curve,
    )


def _bits(training: dict[str, Any], curve: tuple[Point, ...]) -> float | None:
    """Return the final loss in bits per character, or the best so far."""
    final = number(training.get("final_val_bits_per_char"))
    so_far = min((point.bits_per_char for point in curve), default=None)
    return so_far if final is None else final


def _curve(run: Path | None, training: dict[str, Any]) -> tuple[Point, ...]:
    """Return the evaluations from the metrics of the run, or else from the history of the model.

    The history has neither times nor bits. They are then computed as if all steps had taken the
    same time, with the characters per token of the final evaluation.
    """
    if run is not None and (run / METRICS).exists():
        names = "step", "seconds", "val_bits_per_char"
        lines = [line for line in read_metrics(run) if line["event"] == "evaluation"]
        rows = [tuple(number(line.get(name)) for name in names) for line in lines]
    else:
        seconds, bits = _seconds_per_step(training), _bits_per_nat(training)
        rows = [
            (step, _product(step, seconds), _product(loss, bits))
            for step, _, loss in history(training)
        ]
    return tuple(
        Point(int(step), seconds, bits)
        for step, seconds, bits in rows
        if step is not None and seconds is not None and bits is not None
    )


def _product(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one * other


def _seconds_per_step(training: dict[str, Any]) -> float | None:
    seconds, steps = number(training.get("seconds")), number(training.get("step"))
    return seconds / steps if seconds is not None and steps else None


def _bits_per_nat(training: dict[str, Any]) -> float | None:
    names = "final_val_bits_per_char", "final_val_loss"
    bits, nats = (number(training.get(name)) for name in names)
    return bits / nats if bits is not None and nats else None


def _ended(run: Path | None) -> bool:
    return run is not None and any(line["event"] == "end" for line in read_metrics(run))


# -- comparing ----------------------------------------------------------------------------


def best_of(runs: Sequence[ComparedRun]) -> ComparedRun | None:
    """Return the run with the lowest loss among those that are comparable with the first."""
    rivals = [r for r in runs if r.task == runs[0].task and r.bits_per_char is not None]
    return min(rivals, key=lambda r: r.bits_per_char or 0.0) if len(rivals) > 1 else None


def differences(runs: Sequence[ComparedRun]) -> list[str]:
    """Return a note for each run that is not comparable with the first."""
    first, notes = runs[0], []
    for run in runs[1:]:
        if run.task == first.task:
            continue
        other = run.corpus_sha256 != first.corpus_sha256
        why = "another text" if other else "another part of the text held out"
        notes.append(f"{run.name} has {why}: its losses are not comparable with {first.name}")
    return notes


def learning_curves(runs: Sequence[ComparedRun]) -> Chart:
    """Return the validation loss of each run against its training time.

    All models start with a steep fall from nearly the same loss, and the differences appear later.
    So the chart leaves out everything above the highest point of the later three quarters of the
    curves.
    """
    longest = max((p.seconds for run in runs for p in run.curve), default=0.0)
    unit, name = (60.0, "minutes") if longest >= MINUTES else (1.0, "seconds")
    later = [p for run in runs for p in run.curve[len(run.curve) // LATER :]]
    ceiling = max((p.bits_per_char for p in later), default=math.inf)
    series = []
    for run in runs:
        shown = [p for p in run.curve if p.bits_per_char <= ceiling]
        x, y = [p.seconds / unit for p in shown], [p.bits_per_char for p in shown]
        series.append(Series(run.name, x, y))
    left_out = any(p.bits_per_char > ceiling for run in runs for p in run.curve)
    words = f" (above {ceiling:.2f} left out)" if left_out else ""
    title, axis = f"Validation loss{words}", f"{name} of training"
    return Chart(title, axis, "bits per character", tuple(series))
