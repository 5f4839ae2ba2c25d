"""Start of a run: reads the text, chooses what is not given, locks the folder of the run."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from chargen.config import DEFAULT_TIME, ReadConfig, TrainConfig
from chargen.data.catalogue import catalogue
from chargen.data.dataset import Dataset, Text, encode_dataset, read_text, tokenize
from chargen.data.sources import BUILTIN, find_sources
from chargen.errors import ConfigError
from chargen.evaluation.baselines import COUNTED, NGramBaseline, ngram_baseline
from chargen.evaluation.labels import label_counts
from chargen.machine import count_cores, keep_memory, thread_options
from chargen.machine.torch import find_device
from chargen.model.ngrams import NGramConfig, token_codes
from chargen.model.options import ModelOptions
from chargen.model.saved import SavedModel, open_model
from chargen.model.spec import ModelConfig, count_parameters
from chargen.storage.checkpoint import Tensors
from chargen.storage.files import writing
from chargen.storage.runs import STDIN_COPY, locked, new_run_folder, put_aside
from chargen.training.base import AUTO, NONE, find_base, given_base
from chargen.training.configuration import Choice, choose, ngram_rows
from chargen.training.fine_tuning import grown, grown_config, relabelled, transferred
from chargen.training.growing import growing_text, how_it_grew, same_split
from chargen.training.plan import Plan
from chargen.training.processes import ProcessGroup, find_process_group
from chargen.training.run_state import RunState

NGRAM_TOKEN = 2.5e-6  # seconds that the n-gram baseline takes for a token, roughly
NGRAM_SHARE = 0.05  # of the time may go into it
TOO_MANY = 100  # weights for a token of the text


@contextlib.contextmanager
def start_run(
    reading: ReadConfig,
    options: ModelOptions | None = None,
    config: TrainConfig | None = None,
    *,
    name: str | None = None,
    force: bool = False,
    base: str = NONE,
    append: bool = False,
    copy_index: bool = False,
    device: str = "auto",
    threads: int | None = None,
    began: float | None = None,
) -> Iterator[RunState]:
    """Make a new run; its folder is locked for this process while the context is open.

    Args:
        reading: which text, and how it is read.
        options: the architecture as far as it is given; the rest is chosen.
        config: the recipe and the budget; without a budget, five minutes.
        name: of the run; None makes one of the corpus and the date.
        force: begin a run of this name anew.
        base: a trained model to begin from; ``none`` trains from scratch, ``auto`` takes the base
            model that helps with the text, if one does.
        append: the text of the run ``base`` goes before that of ``reading``, and is read and split
            as it was; without a name it is the newest run.
        copy_index: keep an index of the text, which ``no_copy`` needs.
        device: where to compute.
        threads: CPU threads; None finds the fastest number.
        began: the clock (``time.monotonic``) from which the time budget counts; None is now.

    Raises:
        ConfigError: a setting is out of its range, or two contradict each other.
        CorpusError: the text is missing, unreadable or too short.
        CheckpointError: the name is in use, or the model to begin from is damaged.
        DeviceError: there is no such device.
    """
    began = time.monotonic() if began is None else began
    options, recipe = options or ModelOptions(), with_budget(config or TrainConfig())
    begun = open_model() if append and base in (AUTO, NONE) else given_base(base)
    _check_ngrams(begun, options, recipe)
    _check_labels(reading, recipe)
    reading = replace(reading, tokenizer=begun.tokenizer.kind) if begun else reading
    if begun and append:
        reading = growing_text(begun, reading.sources)
        recipe = same_split(begun, recipe)
    text, why = read_text(reading), ""
    if begun and append:
        text = replace(text, notes=(*text.notes, how_it_grew(begun, text)))
    dataset = _tokenized(text, begun, recipe)
    if base == AUTO and not append:
        begun, why = find_base(reading, dataset)
        dataset = _tokenized(text, begun, recipe) if begun else dataset
    told = begun and {"name": begun.name, "sha256": begun.sha256}
    weights = _base_weights(begun, dataset)  # now: --force may replace this very model
    torch_device = find_device(device)
    group = find_process_group(torch_device)
    recipe = replace(recipe, seed=group.broadcast(recipe.seed))
    with new_run(name, reading.sources, group, force=force) as folder:
        if copy_index and group.is_main:
            _save_copy_index(folder, text, recipe)
        keep_memory()
        kept = _keep_pipe(reading, text, folder)
        counted = _count_ngrams(dataset, recipe.time) if group.is_main else None
        baseline = group.broadcast(counted and _told(counted))
        dropped = recipe.ngram_dropout is not None
        choice = choose(
            (begun.config.layers,) if begun else options.stacks(),
            embedding=begun.config.embedding if begun else options.embedding,
            ngrams=_ngrams(begun, options, dataset, always=dropped),
            keep_ngrams=bool(begun) or options.ngram_order is not None or dropped,
            fine_tuning=begun is not None,
            config=recipe,
            dataset=dataset,
            device=torch_device,
            threads=thread_choice(threads, group),
            ends=None if recipe.time is None else began + recipe.time,
            processes=group.size,
        )
        model, recipe, plan, reasons = _broadcast(choice, group)
        source = {
            **_describe(reading, text, dataset, folder),
            **kept,
            **({"base": told} if told else {}),
            "ngram_baseline": baseline,
        }
        yield RunState(
            *(folder, model, recipe, dataset, source, plan, torch_device),
            reasons=reasons | {"base": why},
            group=group,
            weights=weights,
            notes=_notes(reading, text, dataset, model, choice, begun=begun is not None),
            counts=counted.counts if counted and recipe.ngrams else None,
        )


def with_budget(config: TrainConfig) -> TrainConfig:
    """Return the recipe with the default time, if it has no budget."""
    given = config.time, config.steps, config.epochs
    return replace(config, time=DEFAULT_TIME) if given == (None,) * 3 else config


@contextlib.contextmanager
def new_run(
    name: str | None, sources: tuple[str, ...], group: ProcessGroup, *, force: bool
) -> Iterator[Path]:
    """Make the folder of a new run and lock it."""
    folder = Path(group.on_main(lambda: str(new_run_folder(name, sources, force=force))))
    with locked(folder) if group.is_main else contextlib.nullcontext():
        if force and group.is_main:
            put_aside(folder)
        yield folder


def thread_choice(given: int | None, group: ProcessGroup) -> tuple[int, ...]:
    """Return the numbers of CPU threads to choose from: as given, or what the cores allow."""
    if given:
        return (given,)
    each = max(1, count_cores() // group.size)
    return thread_options(each) if group.size == 1 else (each,)


# -- the text -----------------------------------------------------------------------------


def _tokenized(text: Text, base: SavedModel | None, config: TrainConfig) -> Dataset:
    """Return the text in the tokens of its own tokenizer, or of the model to begin from."""
    fractions = config.val_frac, config.test_frac
    if base is None:
        return tokenize(text, *fractions)
    tokenizer = grown(base.tokenizer, text.parts(*fractions)[0])
    return encode_dataset(text, tokenizer, *fractions)


def _keep_pipe(reading: ReadConfig, text: Text, folder: Path) -> dict[str, Any]:
    """Keep what came through standard input or another pipe, so that the run can resume.

    Returns:
        what the corpus section says of the copy: its name in the folder of the run, and how it is
        read. It is decoded, extracted and folded already.
    """
    if not text.spooled:
        return {}
    with writing(folder / STDIN_COPY) as file:
        for piece in text.pieces():
            data = piece if isinstance(piece, bytes) else piece.encode()
            if isinstance(piece, str) and piece.startswith("\ufeff") and not file.tell():
                file.write(data[:3])  # reading leaves out the first byte-order mark
            file.write(data)
    encoding = None if reading.tokenizer == "byte" else "utf-8"  # bytes are kept as they are
    how = {"encoding": encoding, "newlines": "keep", "field": None, "documents": "raw"}
    return {"sources": [STDIN_COPY], "kept": {"sources": [STDIN_COPY], **how}}


def _save_copy_index(folder: Path, text: Text, config: TrainConfig) -> None:
    from chargen.sampling.constraints.copies import build_index, save_index

    train, *_ = text.parts(config.val_frac, config.test_frac)
    save_index(folder, build_index(train, text.length))


def _count_ngrams(dataset: Dataset, budget: float | None) -> NGramBaseline:
    """Count the text, or as much of it as there is time for."""
    most = COUNTED if budget is None else int(NGRAM_SHARE * budget / NGRAM_TOKEN)
    return ngram_baseline(dataset, max(1, min(COUNTED, most)))


def _told(baseline: NGramBaseline) -> dict[str, float | int | None]:
    """Return what the run's files say of the n-grams: how they were counted, and their loss."""
    nats = baseline.score.nats_per_token if baseline.score else None
    return {"order": baseline.order, "tokens": baseline.tokens, "nats_per_token": nats}


def _describe(reading: ReadConfig, text: Text, dataset: Dataset, folder: Path) -> dict[str, Any]:
    """Return by which places and checksum the corpus is found again, and its size."""
    return {
        "sources": []  # a pipe is not read a second time
        if text.spooled
        else [place for name in reading.sources for place in _places(name)],
        "folder": str(folder.absolute()),
        "encoding": reading.encoding,
        "newlines": reading.newlines,
        "separator": reading.separator,
        "field": reading.field,
        "documents": reading.documents,
        "records": reading.records,
        "label": reading.label,
        "split_seed": reading.split_seed,
        "label_counts": dict(zip(dataset.labels, label_counts(dataset).tolist(), strict=True)),
        "sha256": text.sha256,
        "characters": text.length,
        "train_tokens": len(dataset.train),
        "validation_tokens": len(dataset.validation),
    }


def _places(name: str) -> list[str]:
    """Return where a text is found again from any folder: patterns as the files they match."""
    path = Path(name)
    if path.is_file() or path.is_dir():
        return [str(path.absolute())]
    if name in BUILTIN:
        return [name]
    if name in catalogue():
        return [str(catalogue()[name].path.absolute())]
    return [str(Path(source.name).absolute()) for source in find_sources([name])[0]]


# -- the model ----------------------------------------------------------------------------


def _base_weights(base: SavedModel | None, dataset: Dataset) -> Tensors | None:
    """Return the weights to begin with, for the tokenizer of the new run."""
    if base is None:
        return None
    weights = relabelled(base.weights(), base.config, dataset.labels)
    return transferred(weights, base.tokenizer, dataset.tokenizer)


def _ngrams(
    base: SavedModel | None, options: ModelOptions, dataset: Dataset, *, always: bool
) -> NGramConfig | None:
    """Return the tables of n-gram embeddings: those of the base, as given, or as fit the text.

    Args:
        base: the model to begin from, if any.
        options: the architecture as far as it is given.
        dataset: the text.
        always: have one table at least.
    """
    if base:
        return grown_config(base.config, dataset.tokenizer).ngrams
    vocab_size, order = dataset.tokenizer.vocab_size, options.ngram_order
    rows = ngram_rows(dataset.train, vocab_size, order)
    if always and not rows:
        rows = ngram_rows(dataset.train, vocab_size, 2)
    return NGramConfig(rows, token_codes(dataset.tokenizer.pieces)) if rows else None


def _check_ngrams(base: SavedModel | None, options: ModelOptions, config: TrainConfig) -> None:
    """Refuse a dropout of n-gram embeddings where there are none."""
    order = base.config.ngram_order if base else options.ngram_order
    if config.ngram_dropout is not None and order == 1:
        raise ConfigError("the model has no n-gram embeddings; leave --ngram-dropout out")


def _check_labels(reading: ReadConfig, config: TrainConfig) -> None:
    """Refuse settings of labels and records where there are none."""
    if config.label_dropout != TrainConfig.label_dropout and reading.label is None:
        raise ConfigError("label-dropout does nothing without --label; leave it out")
    if reading.split_seed and reading.records is None:
        raise ConfigError("split-seed does nothing without --records; leave it out")


def _broadcast(
    choice: Choice, group: ProcessGroup
) -> tuple[ModelConfig, TrainConfig, Plan, dict[str, str]]:
    """Return what the main process has chosen."""
    model, config, plan, reasons = group.broadcast(
        (choice.model.to_json(), choice.config.to_json(), choice.plan.to_json(), choice.reasons)
    )
    return ModelConfig.from_json(model), TrainConfig(**config), Plan.from_json(plan), reasons


# -- notes --------------------------------------------------------------------------------


def _notes(
    reading: ReadConfig,
    text: Text,
    dataset: Dataset,
    model: ModelConfig,
    choice: Choice,
    *,
    begun: bool,
) -> tuple[str, ...]:
    """Return what a user should know before the run begins."""
    notes = [*text.notes, *dataset.notes]
    plan, config, weights = choice.plan, choice.config, count_parameters(model)
    if (plan.batch_size, plan.bptt) != (config.batch_size, config.bptt):
        notes.append(
            f"the text is small: batch size {plan.batch_size}, bptt {plan.bptt} "
            f"(instead of {config.batch_size} and {config.bptt})"
        )
    if weights > TOO_MANY * len(dataset.train) and not begun:
        notes.append(
            f"the text is small for this model ({len(dataset.train):,} tokens for {weights:,} "
            "parameters): it may learn the text by heart and little else"
        )
    if reading.tokenizer not in ("char", "byte") and model.vocab_size != reading.vocab_size:
        notes.append(
            f"the vocabulary has {model.vocab_size:,} pieces instead of {reading.vocab_size:,}: "
            "as many as the text needs or fills"
        )
    return tuple(notes)
