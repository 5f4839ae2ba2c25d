"""Kills a short run at many moments, and looks at what is left each time.

    python -m tests.training.kills [SEED]

A parent trains a run that is never stopped. For each moment a forked child trains the same run
and is killed there by SIGKILL: at a random step, while a file is being written, before it is
flushed, before and after it is renamed. Each time the model file must open if it is there, and the
run taken up again must end with the same bytes. Prints a line a moment, ``ok`` or what is wrong.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from chargen.config import ReadConfig, TrainConfig
from chargen.data.dataset import Dataset
from chargen.machine.torch import can_run
from chargen.model.saved import load_weights
from chargen.model.spec import ModelConfig, parse_stack
from chargen.storage.checkpoint import METRICS, load_resume
from chargen.training.configuration import Choice
from chargen.training.plan import Plan
from chargen.training.resume import resumed_run
from chargen.training.run_state import RunState
from chargen.training.trainer import Trainer
from tests.processes import reap

STEPS = 40
WRITES = ("write", "flush", "before rename", "after rename")
CPU = torch.device("cpu")
PRECISION = "bfloat16" if can_run("bfloat16", CPU) else "float32"
PLAN = Plan(PRECISION, ((1, 0.0),), 4, 16, ((0, STEPS, 0.0, 1),), 8, None, 0.1)


def begin(name: str) -> RunState:
    """Make a run of a mixed stack with everything on: dropout, weight drop, averages, subwords."""
    from chargen.training import start

    config = TrainConfig(steps=STEPS, seed=5, dropout=0.2, weight_drop=0.1)
    reading, layers = ReadConfig(("text.txt",), "bpe", 300), parse_stack("lstm:8,gru-before:6")

    def given(*_: object, dataset: Dataset, **__: object) -> Choice:  # nothing is measured
        model = ModelConfig(dataset.tokenizer.vocab_size, layers, 6)
        return Choice(model, config, PLAN, {})

    setattr(start, "choose", given)  # noqa: B010
    with start.start_run(reading, config=config, name=name, device="cpu", threads=1) as run:
        (run.folder / METRICS).touch()  # else the folder goes when the context ends
        return run


def train(run: RunState, before_step: Callable[[int], None] = lambda step: None) -> None:
    """Train to the end, saving after every third step."""
    from chargen.training import trainer as trainers

    trainers.SAVE_EVERY = 0.0 if run.step % 3 == 0 else 60.0
    trainer = Trainer(run, time.monotonic(), lambda: False)
    learn = trainer.learner.learn

    def learning(*batch: Any) -> float:
        before_step(trainer.learner.steps)
        trainers.SAVE_EVERY = 0.0 if trainer.learner.steps % 3 == 2 else 60.0
        return learn(*batch)

    trainer.learner.learn = learning  # type: ignore[method-assign,assignment]
    for _ in trainer.events():
        pass


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(kind: str, count: int) -> None:
    """Let this process die at the so-many-th operation of a kind on files."""
    seen = 0

    def reached() -> bool:
        nonlocal seen
        seen += 1
        return seen == count

    fsync, replace, fdopen = os.fsync, Path.replace, os.fdopen

    def flushing(descriptor: int) -> None:
        if kind == "flush" and reached():
            die()
        fsync(descriptor)

    def renaming(path: Path, target: Any) -> Path:
        if kind == "before rename" and reached():
            die()
        renamed = replace(path, target)
        if kind == "after rename" and reached():
            die()
        return renamed

    def opening(*args: Any) -> Any:
        file = fdopen(*args)
        if kind == "write" and reached():
            write = file.write

            def half(data: Any) -> None:
                write(bytes(data)[: len(data) // 2])
                file.flush()
                die()

            class Half:
                def __enter__(self) -> Any:
                    return self

                def __exit__(self, *_: object) -> None:
                    file.close()

                write = staticmethod(half)

            return Half()
        return file

    os.fsync, os.fdopen = flushing, opening  # type: ignore[assignment]
    Path.replace = renaming  # type: ignore[method-assign,assignment]


def killed(kind: str, count: int, name: str) -> bool:
    """Train a run in a child that dies at a moment; tell whether it was killed."""
    child = os.fork()
    if child == 0:
        if kind == "step":
            train(begin(name), lambda step: die() if step == count else None)
        else:
            run = begin(name)
            arm(kind, count)
            train(run)
        os._exit(0)
    return os.WIFSIGNALED(reap(child, 30))


def verdict(name: str, whole: dict[str, Any]) -> str:
    """Look at what a kill has left, take the run up again, and compare."""
    run = Path("checkpoints") / name
    if (run / "model.safetensors").exists():
        load_weights(run / "model.safetensors")
    if (
        not (run / "resume.safetensors").exists()
        and not (run / "resume.previous.safetensors").exists()
    ):
        return "ok (nothing was saved yet)"
    train(resumed_run(run, TrainConfig(), CPU))
    tensors = load_resume(run)[0]
    wrong = [key for key in whole if not np.array_equal(whole[key], tensors[key])]
    return f"differs in {wrong[:3]}" if wrong else "ok"


def moments(seed: int) -> list[tuple[str, int]]:
    """Return 20 random steps and 12 moments inside writes."""
    draw = random.Random(seed)
    steps = [("step", step) for step in sorted(draw.sample(range(STEPS), 20))]
    return steps + [
        (kind, count) for kind in WRITES for count in sorted(draw.sample(range(1, 15), 3))
    ]


def main() -> int:
    """Kill at every moment; return the number of moments that went wrong."""
    torch.set_num_threads(1)
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ["CHARGEN_CACHE"] = f"{folder}/cache"
        Path("text.txt").write_text("some words to be learned by heart, and more\n" * 80)
        train(begin("whole"))
        whole = load_resume(Path("checkpoints/whole"))[0]
        failed = 0
        for kind, count in moments(seed):
            name = f"{kind} {count}".replace(" ", "-")
            words = verdict(name, whole) if killed(kind, count, name) else "was not killed"
            failed += not words.startswith("ok")
            print(f"{kind:14} {count:3}  {words}", flush=True)
        os.chdir("/")
    return failed


if __name__ == "__main__":
    raise SystemExit(main())
