"""Runs in this process whose plan is given instead of measured."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from chargen.config import ReadConfig, TrainConfig
from chargen.data.dataset import Dataset
from chargen.model.options import ModelOptions
from chargen.model.spec import ModelConfig
from chargen.training import start
from chargen.training.configuration import Choice
from chargen.training.events import Event
from chargen.training.plan import Plan
from chargen.training.resume import resumed_run
from chargen.training.run_state import RunState
from chargen.training.start import start_run
from chargen.training.trainer import Trainer

CPU = torch.device("cpu")
PLAN = Plan("float32", ((1, 0.0),), 4, 16, ((0, 24, 0.0, 1),), 8, None, 0.1)


def begin(
    name: str,
    prose: str,
    monkeypatch: pytest.MonkeyPatch,
    *,
    stack: str = "lstm:12",
    tokenizer: str = "char",
    plan: Plan = PLAN,
    records: str | None = None,
    label: str | None = None,
    **options: Any,
) -> RunState:
    """Make a run whose plan is given instead of measured; a label is that of paragraphs."""
    Path("text.txt").write_text(prose[:3000])
    give_plan(monkeypatch, plan)
    reading = ReadConfig(("text.txt",), tokenizer, vocab_size=300, records=records)
    if label:
        write_rows(prose, label)
        reading = replace(reading, sources=("text.csv",), field="text", label=label)
    config = TrainConfig(**{"seed": 5, "steps": 24, "dropout": 0.2, **options})
    architecture = ModelOptions(stack=stack, embedding=6)
    with start_run(reading, architecture, config, name=name, device="cpu", threads=1) as run:
        (run.folder / "metrics.jsonl").touch()  # else the folder goes when the context ends
        return run


def write_rows(prose: str, label: str) -> None:
    """Write the paragraphs of a text to text.csv, with a label by their length."""
    with Path("text.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow((label, "text"))
        for part in prose[:9000].split("\n\n"):
            rows.writerow(("long" if len(part) > 100 else "short", part))


def give_plan(monkeypatch: pytest.MonkeyPatch, plan: Plan) -> None:
    """Let the first candidate be chosen with this plan, nothing measured."""

    def choice(stacks: Any, *, embedding: int, dataset: Dataset, **options: Any) -> Choice:
        size, labels = dataset.tokenizer.vocab_size, dataset.labels
        model = ModelConfig(size, stacks[0], embedding, labels=labels)
        return Choice(model, options["config"], plan, {"model": "as given"})

    monkeypatch.setattr(start, "choose", choice)


def sit(run: RunState, stop_after: int | None = None) -> list[Event]:
    """Train until the end, or until so many steps were taken in this session."""
    trainer: Trainer
    stop: Callable[[], bool] = lambda: (  # noqa: E731
        stop_after is not None and trainer.step - run.step >= stop_after
    )
    trainer = Trainer(run, time.monotonic(), stop)
    return list(trainer.events())


def resume(folder: Path) -> RunState:
    return resumed_run(folder, TrainConfig(), CPU)
