"""Resuming: reads and checks the files of a run, and fits its plan to this machine."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from chargen.config import TrainConfig
from chargen.data.dataset import Dataset, Text, encode_dataset
from chargen.errors import ChargenError, CheckpointError, CorpusError
from chargen.evaluation.baselines import counts_to_mix
from chargen.evaluation.heldout import read_again
from chargen.machine import count_cores, keep_memory, thread_options
from chargen.machine.torch import find_device, not_available, runnable
from chargen.model.counts import NGramCounts
from chargen.model.saved import is_whole
from chargen.model.spec import ModelConfig, weight_shapes
from chargen.storage.checkpoint import MODEL, Saved, load_resume
from chargen.storage.files import located
from chargen.storage.runs import find_unfinished, is_finished, locked
from chargen.tokenizers import tokenizer_from_json
from chargen.training.plan import Plan, budget_steps
from chargen.training.processes import ALONE, ProcessGroup, find_process_group
from chargen.training.run_state import Progress, RunState
from chargen.training.start import thread_choice


@contextlib.contextmanager
def resume_run(
    name: str | None = None,
    budget: TrainConfig | None = None,
    *,
    device: str = "auto",
    threads: int | None = None,
) -> Iterator[RunState]:
    """Resume a run; its folder is locked for this process while the context is open.

    Args:
        name: of the run; None takes the newest unfinished one.
        budget: more time, steps or epochs; None goes on to the planned end.
        device: where to compute.
        threads: CPU threads; None keeps to the run's plan.

    Raises:
        CheckpointError: there is no such run, its files are damaged, its corpus is not what it
            was, or it is finished and no budget extends it.
        DeviceError: there is no such device.
    """
    torch_device, folder = find_device(device), find_unfinished(name)
    group = find_process_group(torch_device)
    with locked(folder) if group.is_main else contextlib.nullcontext():
        keep_memory()
        options = thread_choice(threads, group) if threads else None
        yield resumed_run(folder, budget or TrainConfig(), torch_device, group, options)


def resumed_run(
    folder: Path,
    budget: TrainConfig,
    device: torch.device,
    group: ProcessGroup = ALONE,
    threads: tuple[int, ...] | None = None,
) -> RunState:
    """Return a run from its files; a budget, if one is given, is added.

    Args:
        folder: of the run.
        budget: more time, steps or epochs.
        device: where to compute.
        group: the processes that train together.
        threads: numbers of CPU threads to choose from; None for those of the run.

    Raises:
        CheckpointError: as ``resume_run``.
    """
    saved = load_resume(folder)
    header = saved.header
    try:
        progress, plan = Progress(**header["progress"]), Plan.from_json(header["plan"])
        config, step = TrainConfig(**header["config"]), int(header["step"])
        model, source = ModelConfig.from_json(header["model"]), dict(header["source"])
        tokenizer = tokenizer_from_json(header["tokenizer"])
        _check(saved, model, None if source.get("records") or source.get("label") else plan)
    except (KeyError, TypeError, ValueError, ChargenError) as error:
        raise CheckpointError(
            f"the resume file of run {folder.name!r} is damaged: {error}"
        ) from None
    text = _read_again(folder, source, tokenizer.kind)
    dataset = encode_dataset(text, tokenizer, config.val_frac, config.test_frac)
    plan, changes = _moved(plan, step, device, threads)
    passed_over = [f"{saved.passed_over}: going on from the one before"] * bool(saved.passed_over)
    run = RunState(
        *(folder, model, config, dataset, source, plan, device, progress, step, saved.tensors),
        group=group,
        notes=(*dataset.notes, *changes, *passed_over),
        counts=_counts(source, config, dataset) if group.is_main else None,
    )
    return _extended(run, budget)


def _check(saved: Saved, model: ModelConfig, plan: Plan | None) -> None:
    """Refuse tensors that do not fit the model, before memory is allocated for it.

    Args:
        saved: what is refused.
        model: the architecture.
        plan: whose batch size the state has; None where batches have different sizes.
    """
    shapes = {name: array.shape for name, array in saved.tensors.items()}
    for name, shape in weight_shapes(model).items():
        kinds = ("weights",) if name.startswith("ngrams.") else ("weights", "average")
        if any(shapes[f"{kind}/{name}"] != shape for kind in kinds):
            raise ValueError(f"{name} is not {shape}")
    sizes = {shape[1] for name, shape in shapes.items() if name.startswith("state/")}
    if len(sizes) != 1 or (plan and sizes != {plan.batch_size}):
        raise ValueError(f"states of batch size {sizes}, not {plan and plan.batch_size}")


def _read_again(folder: Path, source: dict[str, Any], kind: str) -> Text:
    try:
        return read_again(located(source, folder), kind)
    except CorpusError as error:
        raise CheckpointError(
            f"run {folder.name!r} cannot resume: {error}, or go on in a new run, with the text as "
            f"it is now: chargen train --append --base {shlex.quote(folder.name)}, or with "
            f"another: chargen train TEXT --base {shlex.quote(folder.name)}"
        ) from None


def _counts(source: dict[str, Any], config: TrainConfig, dataset: Dataset) -> NGramCounts | None:
    """Count the text again as the run began with it."""
    told = source.get("ngram_baseline")
    if told is None or "tokens" not in told or not config.ngrams:  # older runs had no counts
        return None
    return counts_to_mix(dataset, told["tokens"], told["order"])


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


def _extended(run: RunState, budget: TrainConfig) -> RunState:
    """Add a budget to a run; one without a budget must be unfinished."""
    done = is_finished(run.folder, run.step, run.plan.steps)
    if budget.time is None and budget.steps is None and budget.epochs is None:
        if done and is_whole(run.folder / MODEL):
            raise CheckpointError(
                f"run {run.folder.name!r} is finished after {run.step:,} steps; "
                f"extend it: chargen train --resume --name {shlex.quote(run.folder.name)} --time 5m"
            )
        return run
    speed = run.progress.seconds / max(1, run.step)
    left = None if budget.time is None else budget.time - run.plan.ending
    per_epoch = run.batches().steps_per_epoch
    steps = run.step + budget_steps(budget, speed, left, per_epoch)
    counted = budget.steps is not None or budget.epochs is not None
    most = run.step + budget_steps(budget, speed, None, per_epoch) if counted else None
    total_time = None if budget.time is None else run.progress.seconds + budget.time
    config = replace(run.config, time=total_time, steps=most, epochs=None)
    change = run.plan.extended if done else run.plan.replanned
    return replace(run, config=config, plan=change(run.step, steps))
