"""Runs in this process whose plan is given instead of measured."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from chargen.config import ReadConfig, TrainConfig
from chargen.data.dataset import Dataset, read_text, tokenize
from chargen.model.spec import ModelConfig, parse_stack
from chargen.storage.runs import new_run_folder
from chargen.training import run_state as jobs
from chargen.training.configuration import Choice
from chargen.training.events import Event
from chargen.training.plan import Plan
from chargen.training.run_state import RunState, new_run, resumed_run
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
    **options: Any,
) -> RunState:
    """Make a job whose plan is given instead of measured."""
    Path("text.txt").write_text(prose[:3000])
    give_plan(monkeypatch, plan)
    reading = ReadConfig(("text.txt",), tokenizer, vocab_size=300)
    config = TrainConfig(**{"seed": 5, "steps": 24, "dropout": 0.2, **options})
    text = read_text(reading)
    job = new_run(
        run=new_run_folder(name, reading.sources, force=False),
        reading=reading,
        text=text,
        corpus=tokenize(text, config.val_frac, config.test_frac),
        stacks=(parse_stack(stack),),
        embedding=6,
        config=config,
        device=CPU,
        threads=(1,),
        seconds_used=0.0,
    )
    return job


def give_plan(monkeypatch: pytest.MonkeyPatch, plan: Plan) -> None:
    """Let the first candidate be chosen with this plan, nothing measured."""

    def choice(stacks: Any, *, embedding: int, corpus: Dataset, **options: Any) -> Choice:
        model = ModelConfig(corpus.tokenizer.vocab_size, stacks[0], embedding)
        return Choice(model, options["config"], plan, {"model": "as given"})

    monkeypatch.setattr(jobs, "choose", choice)


def sit(job: RunState, stop_after: int | None = None) -> list[Event]:
    """Train until the end, or until so many steps were taken in this session."""
    trainer: Trainer
    stop: Callable[[], bool] = lambda: (  # noqa: E731
        stop_after is not None and trainer.learner.steps - job.step >= stop_after
    )
    trainer = Trainer(job, time.monotonic(), stop)
    return list(trainer.events())


def resume(run: Path) -> RunState:
    return resumed_run(run, TrainConfig(), CPU)
