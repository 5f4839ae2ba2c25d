"""Stopping changes nothing, and what cannot be taken up again is named."""

from __future__ import annotations

import dataclasses
import io
import itertools
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chargen.config import ReadConfig, TrainConfig
from chargen.errors import CheckpointError
from chargen.machine.torch import can_run
from chargen.model.options import ModelOptions
from chargen.model.saved import load_weights, read_model
from chargen.storage.checkpoint import load_resume, read_metrics, save_resume
from chargen.training import start
from chargen.training.events import Ended, Stopped, Warned
from chargen.training.plan import Plan
from chargen.training.resume import resumed_run
from tests.training.session import CPU, PLAN, begin, give_plan, resume, sit

# Where bfloat16 does not run, these runs are trained in float32.
LOW = dataclasses.replace(PLAN, precision="bfloat16" if can_run("bfloat16", CPU) else "float32")
CASES: list[dict[str, Any]] = [
    {},
    {"stack": "gru-before:10,lstm-peephole:7,lstm-norm:5,mingru:6", "ema": 0.9},
    {"tokenizer": "bpe", "optimizer": "rmsprop"},
    {"tokenizer": "byte", "plan": LOW},
    {"records": "lines"},
    {"label": "kind", "stack": "gru:8,lstm:6", "label_dropout": 0.3},
    {"label": "kind", "tokenizer": "unigram", "weight_drop": 0.1, "plan": LOW},
    {
        "stack": "lstm:8,gru:6",
        "tokenizer": "unigram",
        "plan": LOW,
        "weight_drop": 0.1,
        "test_frac": 0.1,
    },
]


@pytest.mark.parametrize("options", CASES)
@pytest.mark.parametrize("stops", [(1,), (8,), (11, 5), (23,), (3, 3, 3, 3)])
def test_stopped_and_resumed_equals_never_stopped(
    options: dict[str, Any],
    stops: tuple[int, ...],
    prose: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = begin("whole", prose, monkeypatch, **options)
    sit(whole)
    run = begin("parts", prose, monkeypatch, **options)
    for stop in stops:
        assert isinstance(sit(run, stop)[-1], Stopped)
        run = resume(run.folder)
    assert isinstance(sit(run)[-1], Ended)
    for name, array in load_weights(whole.folder / "model.safetensors").items():
        assert np.array_equal(load_weights(run.folder / "model.safetensors")[name], array), name
    first, second = load_resume(whole.folder)[0], load_resume(run.folder)[0]
    assert first.keys() == second.keys()
    for name, array in first.items():
        assert np.array_equal(array, second[name]), name
    drop = ("seconds", "characters_per_second", "peak_memory_bytes")
    ours, theirs = (
        [{k: v for k, v in line.items() if k not in drop} for line in read_metrics(run)]
        for run in (whole.folder, run.folder)
    )
    assert ours == theirs


@pytest.mark.parametrize("clock", ["steady", "set again and again"])
def test_a_time_budget_with_its_recorded_plan_is_the_same_run(
    clock: str, prose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    jumps = itertools.cycle((0.0, 4e9, 1e9, 1.8e9))
    if clock != "steady":
        monkeypatch.setattr(time, "time", lambda: next(jumps))
    plan = dataclasses.replace(PLAN, schedule=((0, 60, 0.0, 1),), evaluate_every=10)
    run = begin("parts", prose, monkeypatch, plan=plan, steps=None, time=3.0)
    for stop in (7, 4, 15):
        assert isinstance(sit(run, stop)[-1], Stopped)
        run = resume(run.folder)
    ended = sit(run)[-1]
    assert isinstance(ended, Ended)
    assert 1 < ended.metrics["seconds"] < 20
    made = Plan.from_json(read_model(ended.model).training["plan"])
    assert len(made.schedule) > 1  # planned anew, by the speed of this machine
    whole = begin("whole", prose, monkeypatch, plan=made, steps=made.steps)
    sit(whole)
    first, second = load_resume(whole.folder).tensors, load_resume(run.folder).tensors
    for name, array in first.items():
        assert np.array_equal(array, second[name]), name


def test_a_run_killed_before_its_end_was_written_ends_when_resumed(
    prose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin("run", prose, monkeypatch)
    sit(run)
    metrics = run.folder / "metrics.jsonl"
    last = read_metrics(run.folder)[-1]
    metrics.write_text("".join(metrics.read_text().splitlines(keepends=True)[:-1]))
    sit(resume(run.folder))
    assert read_metrics(run.folder)[-1]["final_val_loss"] == last["final_val_loss"]
    assert len(read_metrics(run.folder)) == 4


def test_metrics_after_the_resumed_step_are_cut(
    prose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin("run", prose, monkeypatch)
    sit(run, 10)
    with (run.folder / "metrics.jsonl").open("a") as file:
        file.write('{"event": "evaluation", "step": 16}\n{"event": "ev')
    sit(resume(run.folder))
    assert [line.get("step") for line in read_metrics(run.folder)] == [8, 16, 24, None]
    assert "train_loss" in read_metrics(run.folder)[1]


def test_a_finished_run_is_extended_by_a_budget_only(
    prose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin("run", prose, monkeypatch)
    sit(run)
    with pytest.raises(CheckpointError) as error:
        resume(run.folder)
    assert str(error.value) == (
        "run 'run' is finished after 24 steps; "
        "extend it: chargen train --resume --name run --time 5m"
    )
    longer = resumed_run(run.folder, TrainConfig(steps=6), CPU)
    assert longer.plan.steps == 30
    assert longer.plan.progress(24) == 0
    ended = sit(longer)[-1]
    assert isinstance(ended, Ended)
    assert ended.metrics["steps"] == 30
    timed = resumed_run(run.folder, TrainConfig(time=100.0), CPU)
    assert timed.config.time == pytest.approx(100 + timed.progress.seconds)
    assert timed.plan.steps > 30
    passes = resumed_run(run.folder, TrainConfig(epochs=2), CPU)
    assert passes.plan.steps == 30 + round(2 * 2700 / 64 + 0.5)


def test_a_changed_corpus_is_noticed(prose: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run = begin("run", prose, monkeypatch)
    sit(run, 3)
    Path("text.txt").write_text(prose[:2999])
    with pytest.raises(CheckpointError, match=r"cannot resume: its corpus \(.*text.txt\) has chan"):
        resume(run.folder)


def test_a_damaged_resume_file_is_named(prose: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run = begin("run", prose, monkeypatch)
    sit(run, 3)
    tensors, header, _ = load_resume(run.folder)
    changes: list[dict[str, Any]] = [
        {"plan": {}},
        *({"plan": {**header["plan"], name: 10**9}} for name in ("batch_size", "bptt", "threads")),
        {"plan": {**header["plan"], "batch_size": 3}},
        {"plan": {**header["plan"], "schedule": []}},
        {"plan": {**header["plan"], "schedule": [[0, 24, 2.0]]}},
        {"model": {**header["model"], "stack": "lstm:16384"}},
        {"config": {"batch_size": 0}},
        {"progress": 3},
        {"model": {}},
    ]
    for change in changes:
        save_resume(run.folder, tensors, {**header, **change})
        with pytest.raises(CheckpointError, match="the resume file of run 'run' is damaged"):
            resume(run.folder)


def test_tensors_that_do_not_fit_are_refused(prose: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run = begin("run", prose, monkeypatch)
    sit(run, 3)
    tensors, header, _ = load_resume(run.folder)
    wrong = np.zeros((2, 2), np.float32)
    for name in ("generator", "optimizer/0/exp_avg", "optimizer/99/exp_avg", "state/0"):
        save_resume(run.folder, {**tensors, name: wrong}, header)
        with pytest.raises(
            CheckpointError, match=r"resume file (of run 'run' is damaged|does not)"
        ):
            sit(resume(run.folder))
    save_resume(run.folder, {k: v for k, v in tensors.items() if k != "state/1"}, header)
    with pytest.raises(CheckpointError, match="does not fit its own model"):
        sit(resume(run.folder))


def test_a_lost_model_is_made_again(prose: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run = begin("run", prose, monkeypatch)
    sit(run, 10)
    model = run.folder / "model.safetensors"
    for damage in (b"", model.read_bytes()[:-1]):
        model.write_bytes(damage)
        with pytest.raises(CheckpointError, match="chargen train --resume --name run --time 10s"):
            load_weights(model)
        events = sit(resume(run.folder), 1)
        assert [event for event in events if isinstance(event, Warned)] == [
            Warned("model.safetensors was lost or damaged: made again from the averages last saved")
        ]
        averages = load_resume(run.folder).tensors
        for name, weight in load_weights(model).items():
            assert np.isfinite(weight).all()
            assert weight.shape == averages[f"average/{name}"].shape
    sit(resume(run.folder))
    model.unlink()
    assert isinstance(sit(resume(run.folder))[-1], Ended)  # finished, and still to be mended
    assert load_weights(model)


def test_a_text_from_standard_input_is_kept_for_resuming(
    prose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_plan(monkeypatch, PLAN)
    stdin = io.TextIOWrapper(io.BytesIO(prose[:3000].encode()))
    monkeypatch.setattr("sys.stdin", stdin)
    options, config = ModelOptions(stack="lstm:8", embedding=4), TrainConfig(steps=24)
    with start.start_run(ReadConfig(("-",)), options, config, name="run", threads=1) as run:
        sit(run, 3)
    assert (run.folder / "corpus.txt").read_text() == prose[:3000]
    assert json.dumps(resume(run.folder).source["sources"]).endswith('corpus.txt"]')
