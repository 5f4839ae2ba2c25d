"""Two processes that train together, started as users start them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from chargen.errors import ConfigError
from chargen.storage.checkpoint import load_resume, read_metrics
from chargen.training.processes import ALONE, ProcessGroup
from tests.conftest import Run, write
from tests.processes import run

OPTIONS = (
    *(
        "--seed",
        "3",
        "--precision",
        "float32",
        "--threads",
        "1",
        "--batch-size",
        "8",
        "--bptt",
        "16",
    ),
    *("--stack", "lstm:24,gru-before:16", "--dropout", "0.3", "--weight-drop", "0.2"),
)
RUN = Path("checkpoints")


def together(*args: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return run([*command, "-m", "chargen", *map(str, args)], text=True, env=environment)


def last(name: str) -> dict[str, Any]:
    return next(line for line in reversed(read_metrics(RUN / name)) if line["event"] != "end")


def test_two_processes_learn_what_one_does_and_go_on(chargen: Run, prose: str) -> None:
    text = write("text.txt", prose)
    alone = chargen("train", text, "--name", "one", "--steps", "50", *OPTIONS)
    both = together("train", text, "--name", "two", "--steps", "50", "--json", *OPTIONS)
    assert (alone.returncode, both.returncode) == (0, 0), both.stderr
    assert abs(last("one")["val_loss"] - last("two")["val_loss"]) < 1e-4
    one, two = load_resume(RUN / "one")[0], load_resume(RUN / "two")[0]
    assert set(one) == set(two)
    assert np.array_equal(one["generator"], two["generator"])
    for name in one:
        if name.split("/")[0] in ("weights", "average", "state"):
            assert one[name].shape == two[name].shape
            assert np.abs(one[name] - two[name]).max() < 1e-3, name
    events = [json.loads(line)["event"] for line in both.stdout.splitlines()]
    assert (events.count("start"), events.count("end")) == (1, 1)
    done = together("train", "--resume", "--name", "two", "--steps", "10")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("resuming at step 50: two") == 1
    assert load_resume(RUN / "two").header["step"] == 60


def test_alone_nothing_is_sent() -> None:
    value = [1, {"a": None}]
    assert ALONE.broadcast(value) is value
    assert ALONE.on_main(lambda: 3) == 3
    assert ALONE.is_main
    part = torch.ones(1, 2, 3)
    assert ALONE.all_gather(part) is part
    assert ALONE.all_reduce(2.0, (True, False)) == (2.0, (True, False))


def test_batches_are_shared_out_evenly() -> None:
    assert [ProcessGroup(rank, 4).share(12) for rank in range(4)] == [
        slice(0, 3),
        slice(3, 6),
        slice(6, 9),
        slice(9, 12),
    ]
    with pytest.raises(ConfigError, match="batch-size is 10; allowed: multiples of 4 processes"):
        ProcessGroup(0, 4).share(10)
