"""Options beside ``--resume`` and ``--base``: each changes something, or is refused by name.

A command line is followed up to the first step of training. What it leads to (the text in ids, the
model, the weights after two steps of the recipe, plan, budget, files and form of the output) is
compared with what the same line leads to without one of its options.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import random
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import torch

from benchmarks.fuzz.cases import COMMAND, BrokenError, call
from chargen.cli import common, options
from chargen.cli.train import RESUMABLE
from chargen.config import TrainConfig
from chargen.data.batches import Batches
from chargen.model.options import BASE_SETTINGS
from chargen.model.saved import open_model
from chargen.training import configuration, start
from chargen.training.learner import Learner
from chargen.training.plan import Plan, ReadingTime, Timing
from chargen.training.run_state import RunState
from chargen.training.trainer import Trainer

SMALL = ("--steps", "6", "--threads", "1", "--precision", "float32", "--seed", "1", "-q")
TEXT = "caf\u00e9 by the river, and a long way home\r\nwords and more words to learn\r\n" * 12
BUDGETS = ("time", "steps", "epochs")
MOST = 3  # options of a case
REMEMBERED = 500  # command lines
ALLOWED = 0.8  # of the cases have only options that go with the beginning

# The values below all differ from what the runs and the recipe have already.
Value = Callable[[random.Random], str]


def _of(*values: object) -> Value:
    return lambda chosen: str(chosen.choice(values))


def _between(low: float, high: float) -> Value:
    return lambda chosen: f"{chosen.uniform(low, high):.4g}"


def _whole(low: int, high: int) -> Value:
    return lambda chosen: str(chosen.randint(low, high))


VALUES: dict[str, Value | None] = {  # None for a switch
    "tokenizer": _of("char", "byte", "unigram", "bpe"),
    "vocab_size": _whole(300, 900),
    "encoding": _of("latin-1", "cp1252", "cp437", "utf-16", "no-such"),
    "newlines": _of("keep", "fold", "crlf"),
    "separator": _of("|", r"\t", "--", "", r"\x"),
    "field": _of("text", "other"),
    "documents": _of("text", "raw", "none"),
    "stack": _of("gru:4", "lstm:5,rnn:3"),
    "cell": _of("gru", "rnn", "mingru"),
    "hidden": _whole(0, 9),
    "layers": _whole(0, 3),
    "embedding": _whole(0, 9),
    "ngram_order": _whole(3, 17),
    "ngram_dropout": _between(0.85, 1.1),
    "ngrams": None,
    "time": _whole(10, 99),
    "steps": _whole(-1, 40),
    "epochs": _between(-0.1, 9.0),
    "seed": _whole(5, 99),
    "val_frac": _between(0.12, 0.45),
    "test_frac": _between(0.05, 0.45),
    "batch_size": _whole(0, 9),
    "bptt": _whole(0, 9),
    "optimizer": _of("adam", "rmsprop", "sgd", "lion"),
    "learning_rate": _between(-0.01, 0.9),
    "warmup": _between(0.3, 1.1),
    "clip": _between(-0.01, 0.05),
    "ema": _between(-0.1, 0.05),
    "precision": _of("bfloat16", "float16"),
    "patience": _whole(0, 9),
    "dropout": _between(0.3, 1.1),
    "weight_drop": _between(0.45, 1.0),
    "weight_decay": _between(0.1, 9.0),
    "recurrent_init": _of("xavier", "identity", "auto", "zeros"),
    "recurrent_scale": _between(1.1, 120.0),
    "input_init": _of("orthogonal", "zeros"),
    "forget_bias": _between(-120.0, 0.9),
    "name": _of("other", "again", "a/b", "..", "x" * 210),
    "force": None,
    "base": _of("base", "bytes", "gone"),
    "resume": None,
    "preset": _of("tiny", "small", "vast"),
    "config": _of("hidden.toml", "batch.toml", "gone.toml"),
    "device": _of("tpu", "cuda", "mps"),
    "threads": _of(0, 2, 3, 4),
    "quiet": None,
    "as_json": None,
    "copy_index": None,
    "tensorboard": _of("board", "board/a"),
}
FLAGS = {
    str(parameter.name): max(parameter.opts, key=len)
    for parameter in COMMAND.commands["train"].params  # type: ignore[attr-defined]
    if parameter.name != "corpus"
}
FLAGS["ngrams"] = "--no-ngrams"
assert FLAGS.keys() == VALUES.keys(), FLAGS.keys() ^ VALUES.keys()


class Effect:
    """What a command line leads to.

    Attributes:
        facts: all but the recipe.
        run: about to be trained.
    """

    def __init__(self, facts: dict[str, Any], run: RunState) -> None:
        self.facts, self.run = facts, run

    @functools.cached_property
    def learned(self) -> str:
        """Checksum of the weights after two steps of the recipe."""
        return _learned(self.run)

    @property
    def steps(self) -> int:
        """Number of steps as planned."""
        return self.run.plan.steps

    def is_like(self, other: Effect | None) -> bool:
        """Tell whether another command line leads to the same."""
        return other is not None and self.facts == other.facts and self.learned == other.learned


class _ReachedError(Exception):
    """The place where training would begin."""

    def __init__(self, effect: Effect) -> None:
        self.effect = effect


class Options:
    """Random options of ``chargen train`` beside ``--resume`` or ``--base``."""

    def __init__(self) -> None:
        _prepare()
        clock = SimpleNamespace(monotonic=lambda: 1.0)  # a budget of time leads to the same plan
        self._known: dict[tuple[str, ...], tuple[Effect | None, str]] = {}
        self._patches = (
            mock.patch.object(sys.modules["chargen.cli.train"], "_follow", _reach),
            mock.patch.object(configuration, "measure", _measured),
            mock.patch.object(options, "fresh_seed", lambda: 3),
            mock.patch.object(start, "time", clock),
            mock.patch.object(configuration, "time", clock),
            mock.patch.object(common, "BEGAN", 0.0),
        )
        for patch in self._patches:
            patch.start()

    def make(self, chosen: random.Random) -> list[tuple[str, ...]]:
        """Return the beginning of a command line, and options."""
        beginnings = {
            "resume": ("train", "--resume", "--name", chosen.choice(["half", "whole"])),
            "newest": ("train", "--resume"),
            "base": ("train", "a.txt", "b.jsonl", "--base", "base"),
            "bytes": ("train", "a.txt", "b.jsonl", "--base", "bytes"),
        }
        beginning = chosen.choice(list(beginnings.values()))
        free = [name for name in FLAGS if FLAGS[name] not in beginning]
        if chosen.random() < ALLOWED:
            resuming = "--resume" in beginning
            refused = set(FLAGS) - RESUMABLE if resuming else {*BASE_SETTINGS, "resume"}
            free = [name for name in free if name not in refused]
        names = chosen.sample(free, min(len(free), chosen.randint(1, MOST)))
        case = [beginning, *(_option(name, chosen) for name in names)]
        if "force" in names:  # there is something to overwrite
            case = [option for option in case if option[0] != "--name"] + [("--name", "whole")]
        return case

    def check(self, case: list[tuple[str, ...]]) -> None:
        """Compare what a command line leads to with what it leads to without one option."""
        effect, refusal = self._effect(case)
        if effect is None:
            _check_refusal(case, refusal, self._effect(case[:1])[1])
            return
        given = [option for option in case[1:] if _name(option) in BUDGETS]
        if len(given) > 1:  # the tightest of them counts
            rest = [option for option in case if option not in given]
            alone = [self._effect([*rest, option])[0] for option in given]
            steps = min(each.steps for each in alone if each)
            if steps != effect.steps:
                raise BrokenError(f"{steps} steps by one of the budgets, but not by all")
            kept = effect.run.config  # by which the run is planned anew while it goes on
            if kept.time and kept.steps is None and kept.epochs is None:
                raise BrokenError("a budget of steps or epochs is forgotten beside one of time")
        for option in case[1:]:
            if (len(given) > 1 and option in given) or _holds_anyway(case, option):
                continue
            without, _ = self._effect([other for other in case if other is not option])
            if effect.is_like(without):
                raise BrokenError(f"{' '.join(option)} changes nothing and is not refused")

    def told(self, case: list[tuple[str, ...]]) -> str:
        """Return the command line."""
        return " ".join(["chargen", *(word for part in case for word in part)])

    def _effect(self, case: list[tuple[str, ...]]) -> tuple[Effect | None, str]:
        """Return what a command line leads to, or the line in which it is refused."""
        arguments = tuple(word for part in case for word in part)
        if arguments not in self._known:
            if len(self._known) > REMEMBERED:
                self._known.clear()
            self._known[arguments] = _followed(arguments)
        return self._known[arguments]


def _option(name: str, chosen: random.Random) -> tuple[str, ...]:
    value = VALUES[name]
    return (FLAGS[name],) if value is None else (FLAGS[name], value(chosen))


def _holds_anyway(case: list[tuple[str, ...]], option: tuple[str, ...]) -> bool:
    """Tell whether an option says what is so without it."""
    kept = "keep" if "bytes" in case[0] else "fold"
    overridden = option[0] == "--config" and any(other[0] == "--batch-size" for other in case)
    return option == ("--newlines", kept) or overridden


def _name(option: tuple[str, ...]) -> str:
    return next(name for name, flag in FLAGS.items() if flag == option[0])


def _check_refusal(case: list[tuple[str, ...]], refusal: str, alone: str) -> None:
    """A refusal names an option that was given, or the line is refused without options too."""
    words = [word for option in case[1:] for word in (option[0].lstrip("-"), _name(option))]
    words = [re.sub("[-_]", "[- ]?", word) for word in words]
    values = [option[1].removesuffix(".toml") for option in case[1:] if len(option) > 1]
    named = "no run '" in refusal or any(re.search(word, refusal, re.IGNORECASE) for word in words)
    if not (named or any(value and value in refusal for value in values) or alone):
        raise BrokenError(f"refused without a name: {refusal!r}")


# -- what a command line leads to -----------------------------------------------------------


def _followed(arguments: tuple[str, ...]) -> tuple[Effect | None, str]:
    before = set(_tree())
    try:
        outcome = call(*arguments)
    except _ReachedError as reached:
        return reached.effect, ""
    finally:
        for path in sorted(set(_tree()) - before, reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
    if not outcome.code:
        raise BrokenError(f"neither trained nor refused: {outcome.err!r}")
    return None, outcome.refusal


def _tree() -> list[Path]:
    return list(Path("checkpoints").rglob("*"))


def _reach(run: RunState, form: str, board: Path | None) -> None:
    """Stand for the training."""
    facts = {
        "budget": [run.config.time, run.config.steps, run.config.epochs],
        "patience": run.config.patience,
        "folder": run.folder.name,
        "files": sorted(path.name for path in run.folder.iterdir()),
        "model": run.model.to_json(),
        "plan": run.plan.to_json(),
        "ids": [_digest(run.dataset.train), len(run.dataset.validation), len(run.dataset.test)],
        "pieces": len(run.dataset.tokenizer.pieces),
        "notes": run.notes,
        "counts": run.counts is not None,
        "form": form,
        "board": str(board),
    }
    raise _ReachedError(Effect(facts, run))


def _learned(run: RunState) -> str:
    """Return a checksum of the weights after two steps."""
    batch_size = run.plan.batch_size
    learner = Learner(run.model, run.config, batch_size, run.device)
    if run.weights is not None:
        learner.begin_with(run.weights)
    if run.tensors is not None:
        learner.restore(run.tensors, run.step)
    batches = Batches.of(run.dataset, batch_size, run.plan.bptt, run.config.seed)
    for step in range(2):
        learner.learn(batches.batch(run.step + step), 0.1 + step / 5, run.plan.precision)
    return _digest(*learner.tensors().values())


def _digest(*arrays: Any) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:12]


def _measured(
    model: Any, config: TrainConfig, dataset: Any, device: Any, threads: tuple[int, ...], *_: Any
) -> Timing:
    """Stand for measuring this machine, which takes long and is never twice the same."""
    precision = "bfloat16" if config.precision == "bfloat16" else "float32"
    return Timing(precision, {n: 0.01 / n for n in threads}, ReadingTime(1e-6, 1e-6, 1e-6))


# -- runs to go on from ---------------------------------------------------------------------


def _prepare() -> None:
    """Train two models, a run that is finished and one that is not."""
    torch.set_num_threads(1)
    os.environ["CHARGEN_CHECKPOINTS"] = "checkpoints"
    Path("a.txt").write_bytes(TEXT.encode())
    rows = [json.dumps({"text": line, "other": line[::-1]}) for line in TEXT.splitlines()]
    Path("b.jsonl").write_text("\n".join(rows))
    Path("hidden.toml").write_text("hidden = 3\n")
    Path("batch.toml").write_text("batch-size = 10\n")
    small = (*SMALL, "--hidden", "4", "--layers", "1", "--embedding", "4", "--batch-size", "2")
    for name, more in (("base", ()), ("bytes", ("--tokenizer", "byte")), ("whole", ())):
        done = call("train", "a.txt", "--name", name, "--bptt", "8", *small, *more)
        assert done.code == 0, done.err
    _stop_half_way(open_model("base").path.parent.with_name("half"))


def _stop_half_way(folder: Path) -> None:
    from chargen.config import ReadConfig
    from chargen.model.options import ModelOptions

    recipe = TrainConfig(steps=50, batch_size=2, bptt=8, precision="float32", seed=1)
    model = ModelOptions(hidden=4, layers=1, embedding=4)
    opening = start.start_run(ReadConfig(("a.txt",)), model, recipe, name=folder.name, threads=1)
    with opening as run:
        trainer = Trainer(replace(run), 0.0, lambda: trainer.step >= 5)
        list(trainer.events())
    assert isinstance(run.plan, Plan)
