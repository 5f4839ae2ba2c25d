"""What a run is made from: begun anew from options, or taken up from its own files."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from chargen.config import ReadConfig, TrainConfig
from chargen.data.corpus import Corpus, Text, encode_corpus
from chargen.errors import ChargenError, CheckpointError, CorpusError
from chargen.evaluation.baselines import COUNTED
from chargen.evaluation.heldout import read_again
from chargen.evaluation.nll import score_counting
from chargen.machine import count_cores, thread_options
from chargen.machine.torch import not_available, runnable
from chargen.model.saved import is_whole
from chargen.model.spec import LayerConfig, ModelConfig, count_parameters, weight_shapes
from chargen.storage.checkpoint import MODEL, Saved, Tensors, load_resume
from chargen.storage.files import writing
from chargen.storage.runs import STDIN_COPY, is_finished
from chargen.tokenizers import tokenizer_from_json
from chargen.training.configuration import Choice, choose
from chargen.training.fine_tuning import Start, transferred
from chargen.training.plan import Plan, budget_steps
from chargen.training.processes import ALONE, Team

SECONDS_A_TOKEN = 2.5e-6  # of counting, roughly
FLOOR_SHARE = 0.05  # of the time may go into it
TOO_MANY = 100  # weights for a token of the text


@dataclass
class Record:
    """What a run has done so far.

    Attributes:
        seconds: time used, in all sittings.
        best: lowest validation loss so far, in nats per token.
        history: (step, train loss, validation loss) of each evaluation.
        loss_sum: losses since the last evaluation, summed.
        loss_count: and how many they are.
        rollbacks: how often the loss exploded and an earlier state was taken back.
    """

    seconds: float = 0.0
    best: float | None = None
    history: list[tuple[int, float | None, float | None]] = field(default_factory=list)
    loss_sum: float = 0.0
    loss_count: int = 0
    rollbacks: int = 0

    @property
    def train_loss(self) -> float | None:
        """Mean loss since the last evaluation, in nats per token."""
        return self.loss_sum / self.loss_count if self.loss_count else None


@dataclass(frozen=True)
class Job:
    """All that a sitting of a run starts from.

    Attributes:
        run: the run's folder.
        model: the architecture.
        config: the recipe and the budget; its time is that of all sittings together.
        corpus: the tokenised text.
        source: where the text came from and how it was read, and its sha256.
        plan: the choices measured on this machine.
        device: where to compute.
        record: what earlier sittings did.
        step: steps they took.
        tensors: what they learned; None in a new run.
        reasons: why model, recipe and plan are as they are, in words; of a new run.
        team: the processes that train together.
        weights: what a new run starts from, if not from nothing.
        notes: what a user should know before it begins, a sentence each.
    """

    run: Path
    model: ModelConfig
    config: TrainConfig
    corpus: Corpus
    source: dict[str, Any]
    plan: Plan
    device: torch.device
    record: Record
    step: int = 0
    tensors: Tensors | None = None
    reasons: dict[str, str] = field(default_factory=dict)
    team: Team = ALONE
    weights: Tensors | None = None
    notes: tuple[str, ...] = ()

    @property
    def floor(self) -> float | None:
        """What counting alone reaches, in nats per token, if that is known."""
        return (self.source.get("floor") or {}).get("nats_per_token")

    def header(self) -> dict[str, Any]:
        """Return what does not change in a sitting, for the resume file."""
        return {
            "model": self.model.to_json(),
            "config": self.config.to_json(),
            "tokenizer": self.corpus.tokenizer.to_json(),
            "source": self.source,
        }


def new_job(
    *,
    run: Path,
    reading: ReadConfig,
    text: Text,
    corpus: Corpus,
    stacks: tuple[tuple[LayerConfig, ...], ...],
    embedding: int | None,
    config: TrainConfig,
    device: torch.device,
    threads: tuple[int, ...],
    seconds_used: float,
    team: Team = ALONE,
    start: Start | None = None,
) -> Job:
    """Measure the machine, choose what is open, and return the job.

    Args:
        run: the run's folder.
        reading: what was read and how.
        text: what it gave.
        corpus: the same tokenised.
        stacks: recurrent stacks to choose from, smaller ones first.
        embedding: width of the token embedding; None to choose it.
        config: the recipe and the budget.
        device: where to compute.
        threads: numbers of CPU threads to choose from, the largest first.
        seconds_used: seconds since the process began.
        team: the processes that train together.
        start: the model that it begins from, if it does.
    """
    if "-" in reading.sources:
        with writing(run / STDIN_COPY) as file:
            for piece in text.pieces():
                file.write(piece if isinstance(piece, bytes) else piece.encode())
        reading = replace(reading, sources=(str(run / STDIN_COPY),), encoding="utf-8", field=None)
    began, floor = time.monotonic(), team.led(lambda: _floor(corpus, config.time))
    seconds_used += time.monotonic() - began
    time_left = None if config.time is None else config.time - seconds_used
    choice = choose(
        stacks,
        embedding=embedding,
        config=config,
        corpus=corpus,
        device=device,
        threads=threads,
        time_left=time_left,
        processes=team.size,
    )
    model, config, plan, reasons = _agreed(choice, team)
    source = {**_describe(reading, text, corpus), "floor": floor}
    job = Job(
        run, model, config, corpus, source, plan, device, Record(), reasons=reasons, team=team
    )
    if start is not None:
        source["init_from"] = start.sha256
        job = replace(job, weights=transferred(start.weights, start.tokenizer, corpus.tokenizer))
    notes = (
        *text.notes,
        *corpus.notes,
        *_fitting_notes(config, plan),
        *_size_notes(model, corpus),
        *_vocabulary_notes(reading, model),
    )
    return replace(job, notes=notes)


def _agreed(choice: Choice, team: Team) -> tuple[ModelConfig, TrainConfig, Plan, dict[str, str]]:
    """Return what the leader has chosen."""
    model, config, plan, reasons = team.agree(
        (choice.model.to_json(), choice.config.to_json(), choice.plan.to_json(), choice.reasons)
    )
    return ModelConfig.from_json(model), TrainConfig(**config), Plan.from_json(plan), reasons


def _floor(corpus: Corpus, budget: float | None) -> dict[str, float] | None:
    """Return what counting alone reaches, if there is time for it."""
    expected = SECONDS_A_TOKEN * min(COUNTED, len(corpus.train))
    if not len(corpus.validation) or (budget and expected > FLOOR_SHARE * budget):
        return None
    order, score = score_counting(corpus)
    return {"order": order, "nats_per_token": score.nats_per_token}


def _describe(reading: ReadConfig, text: Text, corpus: Corpus) -> dict[str, Any]:
    """Return by which place and checksum the corpus is found again, and its size."""
    places = [s if s.startswith("builtin:") else str(Path(s).absolute()) for s in reading.sources]
    return {
        "sources": places,
        "encoding": reading.encoding,
        "newlines": reading.newlines,
        "separator": reading.separator,
        "field": reading.field,
        "sha256": text.sha256,
        "characters": text.length,
        "train_tokens": len(corpus.train),
        "validation_tokens": len(corpus.validation),
    }


def _fitting_notes(config: TrainConfig, plan: Plan) -> list[str]:
    if (plan.lanes, plan.window) == (config.lanes, config.window):
        return []
    return [
        f"the text is small: lanes {plan.lanes}, window {plan.window} "
        f"(instead of {config.lanes} and {config.window})"
    ]


def _size_notes(model: ModelConfig, corpus: Corpus) -> list[str]:
    weights = count_parameters(model)
    if weights <= TOO_MANY * len(corpus.train):
        return []
    return [
        f"the text is small for this model ({len(corpus.train):,} tokens for {weights:,} "
        "parameters): it may learn the text by heart and little else"
    ]


def _vocabulary_notes(reading: ReadConfig, model: ModelConfig) -> list[str]:
    if reading.tokenizer in ("char", "byte") or model.vocab_size == reading.vocab_size:
        return []
    return [
        f"the vocabulary has {model.vocab_size:,} pieces instead of {reading.vocab_size:,}: "
        "as many as the text needs or fills"
    ]


def resumed_job(
    run: Path,
    budget: TrainConfig,
    device: torch.device,
    team: Team = ALONE,
    threads: tuple[int, ...] | None = None,
) -> Job:
    """Take up a run from its files; a budget, if one is given, comes on top of what is done.

    Args:
        run: the run's folder.
        budget: what comes on top.
        device: where to compute.
        team: the processes that train together.
        threads: numbers of CPU threads to choose from; None for those of the run.

    Raises:
        CheckpointError: the files are damaged, the corpus is not what it was, or the run is
            finished and no budget extends it.
    """
    saved = load_resume(run)
    header = saved.header
    try:
        record, plan = Record(**header["record"]), Plan.from_json(header["plan"])
        config, step = TrainConfig(**header["config"]), int(header["step"])
        model, source = ModelConfig.from_json(header["model"]), dict(header["source"])
        tokenizer = tokenizer_from_json(header["tokenizer"])
        _check(saved, model, plan)
    except (KeyError, TypeError, ValueError, ChargenError) as error:
        raise CheckpointError(f"the resume file of run {run.name!r} is damaged: {error}") from None
    text = _read_again(run, source, tokenizer.kind)
    corpus = encode_corpus(text, tokenizer, config.val_frac, config.test_frac)
    plan, changes = _moved(plan, step, device, threads)
    notes = (
        *corpus.notes,
        *changes,
        *([f"{saved.passed_over}: going on from the one before"] * bool(saved.passed_over)),
    )
    job = Job(
        run,
        model,
        config,
        corpus,
        source,
        plan,
        device,
        record,
        step,
        saved.tensors,
        team=team,
        notes=notes,
    )
    return _extended(job, budget)


def _moved(
    plan: Plan, step: int, device: torch.device, threads: tuple[int, ...] | None
) -> tuple[Plan, list[str]]:
    """Return the plan as it can be followed on this machine, and a sentence for each change."""
    changes = []
    precision = runnable(plan.precision, device)
    if precision != plan.precision:
        changes.append(f"{not_available(plan.precision, device)}: goes on in {precision}")
    most, cores = max(n for n, _ in plan.threads), count_cores()
    if threads is None and most > cores:
        threads = thread_options(cores)
        changes.append(f"begun with up to {most} threads: goes on with up to {cores}")
    if threads is not None and threads != tuple(n for n, _ in plan.threads):
        plan = replace(plan, threads=tuple((n, 0.0) for n in threads))
        plan = plan.with_threads(step, threads[0])
    exact = ", no longer bit for bit as it would have gone on there"
    return replace(plan, precision=precision), [words + exact for words in changes]


def _check(saved: Saved, model: ModelConfig, plan: Plan) -> None:
    """Refuse a file whose tensors are not those of its model, before memory is taken for one."""
    shapes = {name: array.shape for name, array in saved.tensors.items()}
    for name, shape in weight_shapes(model).items():
        if not shapes[f"weights/{name}"] == shapes[f"average/{name}"] == shape:
            raise ValueError(f"{name} is not {shape}")
    lanes = {shape[1] for name, shape in shapes.items() if name.startswith("state/")}
    if lanes != {plan.lanes}:
        raise ValueError(f"states of {lanes} lanes, not {plan.lanes}")


def _read_again(run: Path, source: dict[str, Any], kind: str) -> Text:
    try:
        return read_again(source, kind)
    except CorpusError as error:
        raise CheckpointError(
            f"run {run.name!r} cannot resume: {error}, or train a new run"
        ) from None


def _extended(job: Job, budget: TrainConfig) -> Job:
    """Add a budget to a job; one without a budget must be unfinished."""
    done = is_finished(job.run, job.step, job.plan.steps)
    if budget.time is None and budget.steps is None and budget.epochs is None:
        if done and is_whole(job.run / MODEL):
            raise CheckpointError(
                f"run {job.run.name!r} is finished after {job.step:,} steps; "
                f"extend it: chargen train --resume --name {job.run.name} --time 5m"
            )
        return job
    speed = job.record.seconds / max(1, job.step)
    left = None if budget.time is None else budget.time - job.plan.ending
    steps = job.step + budget_steps(budget, speed, left, _steps_per_epoch(job))
    total_time = None if budget.time is None else job.record.seconds + budget.time
    config = replace(job.config, time=total_time, steps=None, epochs=None)
    if budget.time is None:
        config = replace(config, steps=steps)
    change = job.plan.extended if done else job.plan.replanned
    return replace(job, config=config, plan=change(job.step, steps))


def _steps_per_epoch(job: Job) -> float:
    return len(job.corpus.train) / (job.plan.lanes * job.plan.window)
