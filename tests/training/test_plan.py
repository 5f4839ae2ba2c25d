from __future__ import annotations

import pytest
import torch

from chargen.config import TrainConfig
from chargen.data.dataset import tokenize
from chargen.model.spec import ModelConfig, parse_stack
from chargen.training.plan import (
    Plan,
    ReadingTime,
    Timing,
    _evaluations,
    budget_steps,
    make_plan,
    measure,
)
from tests.conftest import text_of

PLAN = Plan("float32", ((2, 0.02), (1, 0.03)), 8, 32, ((0, 100, 0.0, 2),), 10, None, 0.5)


def test_progress_runs_from_nothing_to_the_whole() -> None:
    assert [PLAN.progress(step) for step in (0, 25, 100, 150)] == [0, 0.25, 1, 1]


def test_replanning_changes_the_pace_and_never_jumps() -> None:
    plan = PLAN.replanned(50, 250).replanned(150, 160)
    assert plan.steps == 160
    assert plan.progress(49) == pytest.approx(0.49)
    assert plan.progress(50) == pytest.approx(0.5)
    assert plan.progress(149) == pytest.approx(0.5 + 0.5 * 99 / 200)
    assert plan.progress(150) == pytest.approx(0.75)
    assert plan.progress(155) == pytest.approx(0.875)
    assert plan.progress(160) == 1


def test_a_run_can_be_planned_to_end_now() -> None:
    assert PLAN.replanned(30, 30).steps == 30
    assert 0.3 <= PLAN.replanned(30, 30).progress(30) <= 1


def test_a_finished_run_begins_a_new_cycle() -> None:
    plan = PLAN.extended(100, 300)
    assert plan.progress(100) == 0
    assert plan.progress(200) == 0.5
    assert plan.progress(300) == 1


def test_a_plan_survives_json() -> None:
    plan = PLAN.replanned(50, 250)
    assert Plan.from_json(plan.to_json()) == plan


@pytest.mark.parametrize(
    ("budget", "left", "done", "steps"),
    [
        ({"steps": 70}, None, 0, 70),
        ({"steps": 70}, None, 50, 20),
        ({"epochs": 2.5}, None, 0, 25),
        ({"epochs": 0.01}, None, 0, 1),
        ({}, 10.0, 0, 19),
        ({"steps": 70}, 10.0, 0, 19),
        ({"steps": 7}, 10.0, 0, 7),
        ({}, -5.0, 0, 1),
        ({"steps": 3}, None, 9, 1),
    ],
)
def test_the_tightest_budget_counts(
    budget: dict[str, float], left: float | None, done: int, steps: int
) -> None:
    config = TrainConfig(**budget)  # type: ignore[arg-type]
    assert budget_steps(config, 0.5, left, 10.0, done) == steps


@pytest.mark.parametrize(
    ("steps", "timing", "tokens"),
    [
        (2000, Timing("float32", {2: 0.05}, ReadingTime(5e-6, 3e-5)), 111_540),
        (300, Timing("float32", {2: 0.05}, ReadingTime(5e-6, 3e-5)), 111_540),
        (600_000, Timing("float32", {2: 0.05}, ReadingTime(5e-6, 3e-5)), 111_540),
        (100_000, Timing("float32", {2: 0.05}, ReadingTime(5e-6, 3e-5)), 50_000_000),
    ],
)
def test_evaluations_take_a_twentieth_of_the_time(steps: int, timing: Timing, tokens: int) -> None:
    every, limit = _evaluations(steps, timing, tokens)
    count = steps // every
    scored = min(tokens, limit or tokens)
    assert count >= 5
    assert count * scored * timing.reading.streams <= 0.055 * steps * timing.step
    assert every * timing.step <= 61 or count <= 11


def test_a_text_without_validation_is_still_looked_at() -> None:
    every, limit = _evaluations(100, Timing("float32", {2: 0.01}, ReadingTime()), 0)
    assert (every, limit) == (10, None)


@pytest.mark.parametrize("val_frac", [0.1, 0.0])
def test_a_plan_is_measured_on_this_machine(prose: str, val_frac: float) -> None:
    corpus = tokenize(text_of(prose[:3000]), val_frac)
    model = ModelConfig(corpus.tokenizer.vocab_size, parse_stack("lstm:8"), 4)
    config = TrainConfig(time=3.0, val_frac=val_frac)
    timing = measure(model, config, corpus, torch.device("cpu"), (1,))
    plan = make_plan(timing, config, corpus, 3.0)
    assert plan.precision in ("float32", "bfloat16")
    assert (plan.batch_size, plan.bptt, plan.threads_at(0)) == (len(corpus.train) // 128, 64, 1)
    assert 10 < plan.steps < 100_000
    assert 0.3 <= plan.ending < 1.5
