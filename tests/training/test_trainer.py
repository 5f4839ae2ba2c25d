"""Runs in this process: what happens, and what is written."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import numpy as np
import pytest

from chargen.data.batches import Batch
from chargen.data.dataset import tokenize
from chargen.engine import open_engine
from chargen.errors import TrainingError
from chargen.evaluation.final import FINAL
from chargen.evaluation.protocols import score, stateful
from chargen.evaluation.validation import score_streams
from chargen.machine import anonymous_memory
from chargen.model.saved import load_weights, read_model
from chargen.storage.checkpoint import load_resume, read_metrics
from chargen.training import start
from chargen.training import trainer as trainers
from chargen.training.events import Ended, Evaluated, Progressed, Started, Stopped, Warned
from chargen.training.facts import facts, shortened
from chargen.training.plan import Plan
from chargen.training.trainer import Trainer
from tests.conftest import text_of
from tests.training.session import PLAN, begin, resume, sit


def test_a_run_tells_what_happens_and_writes_it_down(
    prose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin("run", prose, monkeypatch)
    events = sit(run)
    assert isinstance(events[0], Started)
    evaluations = [event for event in events if isinstance(event, Evaluated)]
    assert [event.step for event in evaluations] == [8, 16, 24]
    ended = events[-1]
    assert isinstance(ended, Ended)
    *lines, last = read_metrics(run.folder)
    assert [line["event"] for line in lines] == ["evaluation"] * 3
    for line, event in zip(lines, evaluations, strict=True):
        assert line["step"] == event.step
        assert line["train_loss"] == event.train_loss
        assert line["val_loss"] == event.val_loss
        assert event.val_loss is not None
        assert line["val_bits_per_char"] == pytest.approx(event.val_loss / np.log(2))
        assert len(event.sample) == 160
    assert set(last) == {
        *("event", "steps", "best_val_loss", "final_val_loss", "final_network_loss", "seconds"),
        *("characters_per_second", "peak_memory_bytes"),
        *("final_stateless_loss", "final_val_bits_per_char", "final_train_loss", "fit"),
        "int8_bits_per_char",
        "int8_margin",
        "final_test_loss",
        *("label_accuracy", "label_network", "label_counts"),
    }
    assert (last["event"], last["steps"]) == ("end", 24)
    assert last["best_val_loss"] == min(line["val_loss"] for line in lines)
    assert last["final_network_loss"] == pytest.approx(last["best_val_loss"], abs=0.1)
    assert last["peak_memory_bytes"] > 1e7
    header = read_model(ended.model)
    for name in ("final_val_loss", "final_stateless_loss", "final_val_bits_per_char"):
        assert header.training[name] == last[name]
    assert last["final_stateless_loss"] == pytest.approx(last["final_val_loss"], abs=0.05)
    assert header.training["corpus"]["sources"] == ["text.txt"]
    assert header.training["history"][-1][0] == header.training["step"] == 24
    assert sorted(path.name for path in run.folder.iterdir()) == [
        *(".lock", "metrics.jsonl", "model.safetensors"),
        *("resume.previous.safetensors", "resume.safetensors"),
    ]


def test_training_lowers_the_loss(prose: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = dataclasses.replace(PLAN, schedule=((0, 80, 0.0, 1),))
    run = begin("run", prose, monkeypatch, plan=plan, steps=80, dropout=0.0)
    losses = [event.val_loss for event in sit(run) if isinstance(event, Evaluated)]
    assert losses[0] is not None
    assert losses[-1] is not None
    assert losses[-1] < losses[0] - 0.5


def test_a_stopped_run_has_a_model_and_says_how_far_it_came(
    prose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin("run", prose, monkeypatch)
    stopped = sit(run, 3)[-1]
    assert stopped == Stopped(run.folder, 3, 24)
    assert read_model(run.folder / "model.safetensors").training["step"] == 3


def test_without_validation_the_latest_average_is_the_model(
    prose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin("run", prose, monkeypatch, val_frac=0.0)
    ended = sit(run)[-1]
    assert isinstance(ended, Ended)
    assert ended.metrics["best_val_loss"] is None
    assert ended.metrics["final_val_loss"] is None
    assert ended.metrics["final_stateless_loss"] is None
    assert ended.metrics["final_val_bits_per_char"] is None
    weights, kept = load_weights(ended.model), load_resume(run.folder)[0]
    for name, array in weights.items():
        if name == "ngrams.table.weight":  # not averaged, and kept in half precision
            table = kept[f"weights/{name}"].astype(np.float16)
            assert np.array_equal(array, table)
        else:
            assert np.array_equal(array, kept[f"average/{name}"])


def test_the_best_model_is_kept_when_later_ones_are_worse(
    prose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin("run", prose, monkeypatch)
    calls: list[int] = []

    def worse_each_time(*args: Any) -> Any:
        calls.append(1)
        score = score_streams(*args)
        return dataclasses.replace(score, nats=score.tokens * len(calls))

    monkeypatch.setattr("chargen.training.evaluator.score_streams", worse_each_time)
    events = sit(run)
    assert [event.best for event in events if isinstance(event, Evaluated)] == [True, False, False]
    assert read_model(run.folder / "model.safetensors").training["best_val_loss"] == 1
    kept = load_resume(run.folder)[0]["average/head.weight"]
    assert not np.array_equal(load_weights(run.folder / "model.safetensors")["head.weight"], kept)


def test_a_run_that_can_only_get_worse_ends_and_says_why(
    prose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rising(*args: Any) -> Any:
        score = score_streams(*args)
        calls.append(1)
        return dataclasses.replace(score, nats=score.tokens * 1.1 ** len(calls))

    calls: list[int] = []
    monkeypatch.setattr("chargen.training.evaluator.score_streams", rising)
    plan = dataclasses.replace(PLAN, schedule=((0, 100, 0.0, 1),), evaluate_every=4)
    events = sit(begin("run", prose, monkeypatch, plan=plan, steps=100, patience=4))
    words = [event.words for event in events if isinstance(event, Warned)]
    assert [line.split(":")[0] for line in words] == ["it overfits", "ended at step 20"]
    ended = events[-1]
    assert isinstance(ended, Ended)
    assert (ended.metrics["steps"], ended.metrics["fit"]) == (20, "overfitted")
    assert ended.metrics["best_val_loss"] == pytest.approx(1.1)
    calls.clear()
    patient = begin("patient", prose, monkeypatch, plan=plan, steps=100, patience=0)
    assert sit(patient)[-1].metrics["steps"] == 100  # type: ignore[union-attr]


def test_a_test_part_is_scored_at_the_end(prose: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run = begin("run", prose, monkeypatch, test_frac=0.2)
    assert len(run.dataset.test) == 600
    ended = sit(run)[-1]
    assert isinstance(ended, Ended)
    tested = run.dataset.test
    expected = score(stateful(open_engine(read_model(ended.model), "cpu", 1), tested), tested)
    assert ended.metrics["final_test_loss"] == pytest.approx(expected.nats_per_token, abs=1e-6)
    seen = ended.metrics["final_train_loss"]
    assert seen == pytest.approx(ended.metrics["final_network_loss"], abs=0.5)


def test_memory_does_not_grow_with_the_steps(prose: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = dataclasses.replace(PLAN, schedule=((0, 400, 0.0, 1),), evaluate_every=20)
    held = []
    for event in Trainer(
        begin("run", prose, monkeypatch, plan=plan, steps=400), time.monotonic(), lambda: False
    ).events():
        if isinstance(event, Evaluated):
            held.append(anonymous_memory())
    assert min(held[-5:]) - max(held[5:10]) < 4e6


def explode_at(monkeypatch: pytest.MonkeyPatch, trainer: Trainer, steps: set[int]) -> None:
    """Let the loss be no number at some steps, each once, whatever the weights are."""
    learn = trainer.learner.learn

    def learning(*batch: Any) -> float:
        if trainer.learner.steps in steps:
            steps.remove(trainer.learner.steps)
            return float("nan")
        return learn(*batch)

    monkeypatch.setattr(trainer.learner, "learn", learning)


def test_an_exploding_loss_is_rolled_back_with_half_the_rate(
    prose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin("run", prose, monkeypatch, learning_rate=0.004)
    sit(run, 10)
    trainer = Trainer(resume(run.folder), time.monotonic(), lambda: False)
    explode_at(monkeypatch, trainer, {15, 20})
    events = list(trainer.events())
    words = [event.words for event in events if isinstance(event, Warned)]
    assert words == [
        "the loss exploded: back to step 10, learning rate 0.002",
        "the loss exploded: back to step 10, learning rate 0.001",
    ]
    header = load_resume(run.folder)[1]
    assert (header["step"], header["progress"]["rollbacks"]) == (24, 2)
    assert header["config"]["learning_rate"] == 0.001
    assert [line.get("step") for line in read_metrics(run.folder)] == [8, 16, 24, None]


def test_after_three_explosions_the_run_gives_up_in_words(
    prose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin("run", prose, monkeypatch)
    trainer = Trainer(run, time.monotonic(), lambda: False)
    monkeypatch.setattr(trainer.learner, "learn", lambda *_: float("inf"))
    with pytest.raises(TrainingError) as error:
        list(trainer.events())
    assert str(error.value) == (
        "the loss exploded 4 times, at last at step 1; train again with a lower "
        "--learning-rate than 0.0005"
    )


def test_a_gradient_that_is_not_finite_spoils_nothing(
    prose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = Trainer(begin("run", prose, monkeypatch), time.monotonic(), lambda: False).learner
    before = learner.tensors()
    hook = learner.model.head.bias.register_hook(lambda gradient: gradient * float("inf"))
    tokens = np.ones((4, 17), np.int64)
    assert np.isnan(learner.learn(Batch(tokens), 0.5, "float32"))
    after = learner.tensors()
    assert learner.steps == 0
    for name in (name for name in before if name.startswith(("weights/", "average/"))):
        assert np.array_equal(before[name], after[name])
    hook.remove()
    assert np.isfinite(learner.learn(Batch(tokens), 0.5, "float32"))  # as after a roll-back


def test_a_time_budget_is_kept_when_the_machine_is_slower_than_planned(
    prose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = dataclasses.replace(PLAN, schedule=((0, 100_000, 0.0, 1),), evaluate_every=10_000)
    run = begin("run", prose, monkeypatch, plan=plan, steps=None, time=2.0)
    began = time.monotonic()
    ended = sit(run)[-1]
    assert isinstance(ended, Ended)
    assert 1.0 < time.monotonic() - began < 20
    header = read_model(ended.model)
    schedule = header.training["plan"]["schedule"]
    assert len(schedule) == 2
    assert schedule[-1][1] == ended.metrics["steps"] < 100_000


def test_steps_are_planned_anew_at_an_evaluation(
    prose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = dataclasses.replace(PLAN, schedule=((0, 40, 0.0, 1),), evaluate_every=20)
    run = begin("run", prose, monkeypatch, plan=plan, steps=None, time=4.0)
    ended = sit(run)[-1]
    assert isinstance(ended, Ended)
    assert ended.metrics["steps"] > 40
    again = Plan.from_json(read_model(ended.model).training["plan"])
    assert again.schedule[1][0] == 20
    assert again.schedule[1][2] == pytest.approx(0.5)


def test_progress_is_reported_between_evaluations(
    prose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainers, "SHOW_EVERY", 0.0)
    progress = [e for e in sit(begin("run", prose, monkeypatch)) if isinstance(e, Progressed)]
    assert [event.step for event in progress] == [s for s in range(1, 24) if s % 8]
    for event in progress:
        assert event.steps == 24
        assert 0 < event.train_loss < 10
        assert event.characters_per_second > 10
        assert event.seconds_left > 0


def test_work_is_saved_between_evaluations(prose: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainers, "SAVE_EVERY", 0.0)
    run = begin("run", prose, monkeypatch)
    trainer = Trainer(run, time.monotonic(), lambda: False)
    events = trainer.events()
    while trainer.learner.steps < 8:
        next(events)
    assert (
        load_resume(run.folder)[1]["step"] == 7
    )  # the evaluation after step 8 comes before saving


# -- resuming -----------------------------------------------------------------------------


@pytest.mark.parametrize(("budget", "tokens"), [(None, None), (60.0, None), (1e-2, 200)])
def test_as_many_tokens_are_counted_as_there_is_time_for(
    budget: float | None, tokens: int | None, prose: str
) -> None:
    dataset = tokenize(text_of(prose), 0.1)
    counted = start._count_ngrams(dataset, budget)
    assert counted.tokens == (tokens or len(dataset.train))
    assert start._count_ngrams(tokenize(text_of(prose), 0.0), None).score is None


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0"),
        (830, "830"),
        (1225, "1.2K"),
        (61_000, "61K"),
        (3_326_565, "3.3M"),
        (1 << 31, "2.1G"),
    ],
)
def test_numbers_are_shortened(count: int, words: str) -> None:
    assert shortened(count) == words


def test_a_run_says_what_was_chosen_and_why(prose: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run = begin("run", prose, monkeypatch, weight_drop=0.1)
    told = dict(facts(run))
    assert list(told) == ["corpus", "n-gram", "model", "recipe", "plan"]
    assert told["corpus"] == "3,000 characters, char tokenizer, 54 ids"
    assert told["model"] == "lstm:12, 2.0K parameters (as given)"
    assert told["recipe"] == "adamw 0.008, dropout 0.2, weight drop 0.1"
    assert told["plan"] == "24 steps of 4 x 16, cpu, float32, 1 thread, seed 5"


def test_when_the_time_is_over_the_end_is_short(
    prose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin("run", prose, monkeypatch, steps=None, time=1e-3)
    ended = sit(run)[-1]
    assert isinstance(ended, Ended)
    losses = {name: ended.metrics[name] for name in FINAL}
    assert losses.pop("final_val_loss") > 0
    assert losses.pop("final_network_loss") > 0
    assert losses.pop("final_val_bits_per_char") > 0
    assert set(losses.values()) == {None}
    assert ended.metrics["fit"] is None
