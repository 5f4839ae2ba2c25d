"""A text that grows: a new run learns the text of an older one with more behind it.

The held-out part of a run is the end of its text. With more behind the end, the last tenth of the
whole begins later than the last tenth of the old text did: nothing that the older run has learned
is ever held out from the new one.
"""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import Any

from chargen.config import ReadConfig, TrainConfig
from chargen.data.dataset import Text
from chargen.errors import CheckpointError, CorpusError
from chargen.model.saved import SavedModel
from chargen.storage.checkpoint import read_resume_header

SPLIT = ("val_frac", "test_frac")
GROWING = {  # settings that a text keeps while it grows
    *("encoding", "newlines", "separator", "field", "documents", "tokenizer", "vocab_size"),
    *("records", "label", "split_seed"),
    *SPLIT,
}


def growing_text(run: SavedModel, more: tuple[str, ...]) -> ReadConfig:
    """Return how the text of a run is read, as it is now, with more sources behind it.

    Raises:
        CheckpointError: the files of the run do not say where its text is, or it has records or
            labels.
    """
    if run.reading.records or run.reading.label:
        raise CheckpointError(
            f"run {run.name!r} has texts of their own, and what it learned may be held out now; "
            f"train on all of them: chargen train OLD NEW --base {shlex.quote(run.name)}"
        )
    source = _source(run)
    reading = replace(run.reading, sources=(*source["sources"], *more))
    if "kept" not in source:
        return reading
    return replace(reading, encoding=None, field=None)  # its copy of a pipe is text in UTF-8


def same_split(run: SavedModel, recipe: TrainConfig) -> TrainConfig:
    """Return a recipe that holds out the same fractions of the text as a run of ours did."""
    config = run.section("config")
    fractions = (config.get(name, getattr(recipe, name)) for name in SPLIT)
    return replace(recipe, **dict(zip(SPLIT, fractions, strict=True)))


def how_it_grew(run: SavedModel, text: Text) -> str:
    """Return what is new in the text of a run, in words.

    Raises:
        CorpusError: nothing is.
    """
    source = _source(run)
    if text.sha256 == source["sha256"]:
        raise CorpusError(
            f"the text of run {run.name!r} has not grown; name a new file, or train it for longer: "
            f"chargen train --resume --name {shlex.quote(run.name)} --time 5m"
        )
    before = int(source["characters"])
    if text.begins_with(before, source["sha256"]):
        unit = "bytes" if text.config.tokenizer == "byte" else "characters"
        return f"{text.length - before:,} {unit} behind those of run {run.name!r}"
    return (
        f"the text of run {run.name!r} has changed before its end: parts that the run has learned "
        "may be held out now, and their loss says too little"
    )


def _source(run: SavedModel) -> dict[str, Any]:
    """Return what the resume file of a run says of its text."""
    try:
        source = dict(read_resume_header(run.path.parent)["source"])
        _ = source["sources"], source["sha256"], int(source["characters"])
    except (CheckpointError, KeyError, TypeError, ValueError):
        raise CheckpointError(
            f"model {run.name!r} does not say where its text is; name all of the text: "
            f"chargen train OLD NEW --base {shlex.quote(run.name)}"
        ) from None
    return source
