"""Facts about the machine, and what happens where a precision or a core is missing."""

from __future__ import annotations

import dataclasses
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from chargen import machine
from chargen.config import TrainConfig
from chargen.data.dataset import tokenize
from chargen.machine import (
    OtherLoad,
    bound_spinning,
    count_cores,
    forbid_telemetry,
    thread_options,
)
from chargen.machine import torch as torch_side
from chargen.model.spec import ModelConfig, parse_stack
from chargen.training.events import Ended
from chargen.training.facts import facts
from chargen.training.plan import measure
from chargen.training.resume import resumed_run
from tests.conftest import text_of
from tests.processes import finish
from tests.training.session import CPU, PLAN, begin, sit


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "nonsense"}, 8),
        ({"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
    ],
)
def test_a_containers_share_of_the_cores_counts(
    files: dict[str, str], cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, words in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(words)
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert count_cores() == cores


def test_a_containers_memory_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    whole = machine.memory_limit()
    assert machine.free_memory() <= whole
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.memory_limit() == whole
    (tmp_path / "memory.max").write_text(str(1 << 20))
    assert machine.memory_limit() == 1 << 20
    assert machine.free_memory() == 0


@pytest.mark.parametrize(
    ("cores", "options"), [(1, (1,)), (2, (2, 1)), (4, (4, 3, 2, 1)), (8, (8, 7, 4, 1))]
)
def test_the_numbers_of_threads_worth_trying(cores: int, options: tuple[int, ...]) -> None:
    assert thread_options(cores) == options


def test_threads_wait_with_bounded_spinning_unless_the_user_decides() -> None:
    environment: dict[str, str] = {}
    bound_spinning(environment)
    assert environment == {"GOMP_SPINCOUNT": "4000", "KMP_BLOCKTIME": "1"}
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"):
        environment = {name: "mine"}
        bound_spinning(environment)
        assert environment == {name: "mine"}


def test_no_library_reports_what_runs_here(with_model: Path, tmp_path: Path) -> None:
    """ONNX Runtime keeps a database of what it is going to report in the user's cache."""
    home = tmp_path / "home"
    home.mkdir()
    own = {name: os.environ[name] for name in ("PATH", "CHARGEN_CACHE", "CHARGEN_CHECKPOINTS")}
    line = [sys.executable, "-m", "chargen", "sample", "-n", "20"]
    finish(line, env={**own, "HOME": str(home)}, stdin=subprocess.DEVNULL)
    assert not list(home.rglob("*"))
    environment = {"ORT_DISABLE_TELEMETRY": "0"}
    forbid_telemetry(environment)
    assert environment == {"ORT_DISABLE_TELEMETRY": "0", "HF_HUB_DISABLE_TELEMETRY": "1"}


def test_what_others_compute_is_not_what_we_compute() -> None:
    load = OtherLoad()
    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        math.sqrt(2)
    assert load.cores() < count_cores() + 0.5
    assert OtherLoad().cores() >= 0


def test_a_precision_is_tried_forward_and_backward_and_only_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried = []

    class Backward(torch.autograd.Function):  # as on processors that fail only there
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            tried.append(1)
            return x.clone()

        @staticmethod
        def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
            raise RuntimeError("could not create a primitive descriptor")

    forward = torch.nn.LSTM.forward
    monkeypatch.setattr(
        torch.nn.LSTM,
        "forward",
        lambda self, x: (Backward.apply(forward(self, x)[0]), None),
    )
    torch_side.can_run.cache_clear()
    assert not torch_side.can_run("bfloat16", CPU)
    assert not torch_side.can_run("bfloat16", CPU)
    assert tried == [1]
    assert torch_side.can_run("float32", CPU)
    assert torch_side.runnable("bfloat16", CPU) == "float32"
    torch_side.can_run.cache_clear()


@pytest.fixture
def without_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor on which bfloat16 does not run, and fails if it is tried all the same."""
    autocast = torch_side.autocast

    def refusing(device: torch.device, precision: str) -> torch.autocast:
        assert precision == "float32", "tried again"
        return autocast(device, precision)

    for module in ("plan", "configuration"):
        monkeypatch.setattr(f"chargen.training.{module}.can_run", lambda p, _: p == "float32")
    for module in ("plan", "resume"):
        monkeypatch.setattr(f"chargen.training.{module}.runnable", lambda p, _: "float32")
    for module in ("plan", "learner", "evaluator"):
        monkeypatch.setattr(f"chargen.training.{module}.autocast", refusing)


@pytest.mark.usefixtures("without_bfloat16")
@pytest.mark.parametrize("asked", ["auto", "bfloat16", "float32"])
@pytest.mark.parametrize("stack", ["lstm:8", "lstm-peephole:8", "gru:8"])
def test_where_bfloat16_does_not_run_float32_does(asked: str, stack: str, prose: str) -> None:
    from chargen.training.configuration import _why_plan

    corpus = tokenize(text_of(prose[:3000]), 0.1)
    model = ModelConfig(corpus.tokenizer.vocab_size, parse_stack(stack), 4)
    config = TrainConfig(precision=asked)
    timing = measure(model, config, corpus, CPU, (1,))
    assert timing.precision == "float32"
    words = "as given" if asked == "float32" else "bfloat16 not available on this CPU"
    assert _why_plan(timing, config, CPU) == words


@pytest.mark.usefixtures("without_bfloat16")
def test_a_run_from_a_better_machine_goes_on_in_float32_and_says_so(
    prose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin("run", prose, monkeypatch)
    sit(run, 3)
    better = dataclasses.replace(run.plan, precision="bfloat16", threads=((64, 0.1), (1, 0.2)))
    save_plan(run.folder, better)
    moved = resumed_run(run.folder, TrainConfig(), CPU)
    assert moved.plan.precision == "float32"
    cores = count_cores()
    assert moved.plan.threads_at(3) == cores
    exact = "no longer bit for bit as it would have gone on there"
    assert moved.notes == (
        f"bfloat16 not available on this CPU: goes on in float32, {exact}",
        f"begun with up to 64 threads: goes on with up to {cores}, {exact}",
    )
    assert dict(facts(moved))["plan"].startswith("24 steps of 4 x 16, cpu, float32, ")
    assert isinstance(sit(moved)[-1], Ended)


def save_plan(run: Path, plan: Any) -> None:
    from chargen.storage.checkpoint import load_resume, save_resume

    tensors, header, _ = load_resume(run)
    save_resume(run, tensors, {**header, "plan": plan.to_json()})


def test_threads_that_are_given_on_resuming_are_taken(
    prose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin("run", prose, monkeypatch)
    sit(run, 3)
    resumed = resumed_run(run.folder, TrainConfig(), CPU, threads=(2,))
    assert resumed.plan.threads_at(3) == 2
    assert resumed.plan.threads_at(2) == 1
    assert resumed.notes == ()


def test_a_change_of_threads_is_written_into_the_plan(
    prose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Restless:
        threads = 1

        def took(self, seconds: float) -> None:
            self.threads = 3 - self.threads

    monkeypatch.setattr("chargen.training.run_state.Pace", lambda *_, **__: Restless())
    run = begin("run", prose, monkeypatch, plan=dataclasses.replace(PLAN), steps=4)
    ended = sit(run)[-1]
    assert isinstance(ended, Ended)
    from chargen.storage.checkpoint import load_resume
    from chargen.training.plan import Plan

    plan = Plan.from_json(load_resume(run.folder).header["plan"])
    assert [plan.threads_at(step) for step in range(6)] == [1, 2, 1, 2, 1, 2]
    assert plan.progress(12) == pytest.approx(0.5)
    torch.set_num_threads(1)
