"""Events of a run, as data: the trainer yields these and the console shows them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Started:
    """The first step is about to be taken.

    Attributes:
        run: the run's folder.
        facts: what was chosen, a pair of name and words each.
        step: steps taken before (more than 0 in a resumed run).
        steps: steps planned in all.
        notes: what a user should know about text and settings, a sentence each.
        ngram_baseline: loss of n-grams, in nats per token, if that is known.
    """

    run: Path
    facts: tuple[tuple[str, str], ...]
    step: int
    steps: int
    ngram_baseline: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Progressed:
    """Some steps were taken.

    Attributes:
        step: steps taken.
        steps: steps planned in all.
        train_loss: mean over the steps since the last evaluation, in nats per token.
        characters_per_second: characters learned per second since the start.
        seconds_left: until the end of the run.
    """

    step: int
    steps: int
    train_loss: float
    characters_per_second: float
    seconds_left: float


@dataclass(frozen=True)
class Evaluated:
    """The averaged weights were evaluated.

    Attributes:
        step: steps taken.
        steps: steps planned in all.
        seconds: time used so far.
        train_loss: mean since the evaluation before, in nats per token; None at no step.
        val_loss: in nats per token; None without a validation part.
        val_bits_per_char: the same in bits per character.
        best: whether this is the lowest so far, and so was written to the model file.
        sample: what the model generates now.
    """

    step: int
    steps: int
    seconds: float
    train_loss: float | None
    val_loss: float | None
    val_bits_per_char: float | None
    best: bool
    sample: str


@dataclass(frozen=True)
class Warned:
    """Something looks wrong.

    Attributes:
        words: what, and what would help.
    """

    words: str


@dataclass(frozen=True)
class Stopped:
    """The run was interrupted and saved; it can go on."""

    run: Path
    step: int
    steps: int


@dataclass(frozen=True)
class Ended:
    """The run is complete.

    Attributes:
        run: the run's folder.
        model: the model file.
        metrics: the last line of ``metrics.jsonl``.
        advice: what to try next, a sentence each.
    """

    run: Path
    model: Path
    metrics: dict[str, Any]
    advice: tuple[str, ...] = ()


Event = Started | Progressed | Evaluated | Warned | Stopped | Ended

NAMES = {
    Started: "start",
    Progressed: "progress",
    Evaluated: "evaluation",
    Warned: "warning",
    Stopped: "stop",
    Ended: "end",
}


def to_json(event: Event) -> dict[str, Any]:
    """Return an event as plain data, its kind under ``event``."""
    fields = {name: _plain(value) for name, value in vars(event).items() if name != "metrics"}
    metrics = event.metrics if isinstance(event, Ended) else {}
    return {"event": NAMES[type(event)], **fields, **metrics}


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value
