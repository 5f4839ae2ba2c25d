"""Text for the evaluation of a model: a file, or the held-out part of its own corpus."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

from chargen.config import ReadConfig
from chargen.data.collecting import shown_label
from chargen.data.dataset import (
    SHOWN,
    Dataset,
    Segment,
    Text,
    encode_dataset,
    read_like,
    read_text,
)
from chargen.errors import ChargenError, CheckpointError, CorpusError
from chargen.model.saved import OWN, SavedModel
from chargen.storage.checkpoint import read_resume_header


def read_again(source: dict[str, Any], kind: str) -> Text:
    """Read the corpus of a run again.

    Args:
        source: the corpus section of the model file or the resume file.
        kind: kind of the tokenizer.

    Raises:
        CorpusError: a file is missing, or the text has changed.
    """
    older = {"documents": "raw", "records": None, "label": None, "split_seed": 0}
    source = {**older, **source}
    settings = {name: source[name] for name in OWN}
    text = read_text(ReadConfig(tuple(source["sources"]), kind, **settings))
    if text.sha256 != source["sha256"]:
        names = ", ".join(source["sources"])
        raise CorpusError(f"its corpus ({names}) has changed; restore the old text")
    return text


def own_dataset(saved: SavedModel) -> Dataset:
    """Return the corpus of a model, split and tokenized as in its training.

    A model file has the names of the texts without their folders. The folders are in the resume
    file of the run, if that is beside the model; otherwise the texts are expected in the working
    directory.

    Args:
        saved: the model.

    Raises:
        CheckpointError: the corpus cannot be found, or has changed.
    """
    source, config = saved.section("corpus"), saved.section("config")
    with contextlib.suppress(CheckpointError):
        resumed = read_resume_header(saved.path.parent)["source"]
        source = resumed if resumed.get("sha256") == source.get("sha256") else source
    try:
        text = read_again(source, saved.tokenizer.kind)
        fracs = float(config.get("val_frac", 0)), float(config.get("test_frac", 0))
    except (ChargenError, KeyError, TypeError, ValueError) as error:  # the file may claim anything
        sources = source.get("sources")
        names = ", ".join(map(str, sources)) if isinstance(sources, list) else "unknown"
        why = error if isinstance(error, ChargenError) else "the model file does not say how"
        raise CheckpointError(
            f"the training text of the model, {names}, cannot be read ({why}); "
            "run this command in its folder"
        ) from None
    return encode_dataset(text, saved.tokenizer, *fracs)


def held_out(dataset: Dataset) -> Segment:
    """Return the validation part of the corpus of a model.

    Raises:
        CheckpointError: there is no validation part.
    """
    if not len(dataset.validation):
        raise CheckpointError(
            "the model has no held-out text (--val-frac 0); name a file to evaluate"
        )
    return dataset.validation


def whole_text(file: str, saved: SavedModel, encoding: str | None = None) -> Segment:
    """Return a file as a text to score, with a newline as its context, or as texts with labels.

    It is texts if the corpus of the model was; labels are numbered as in the model.

    Raises:
        CorpusError: it is missing, empty, binary or not in its encoding.
    """
    text = read_like(saved.reading, file, encoding, apart=True)
    notes = [*text.notes, *unknown_labels(text, saved)]
    if text.collection is not None:
        text = replace(text, collection=text.collection.numbered(saved.config.labels))
    dataset = encode_dataset(text, saved.tokenizer, 1.0)
    segment = replace(dataset.validation, notes=(*notes, *dataset.notes))
    if segment.texts is not None:
        return segment
    return replace(segment, context=saved.tokenizer.encode("\n"))


def unknown_labels(text: Text, saved: SavedModel) -> list[str]:
    """Return a note about labels in a file that the model does not know."""
    names, known = text.collection.names if text.collection else (), saved.config.labels
    others = [name for name in names if name not in known]
    if not others or text.config.field is None:  # a name of a file is no claim
        return []
    named = ", ".join(map(shown_label, others[:SHOWN]))
    more = ", ..." if len(others) > SHOWN else ""
    return [f"labels that the model does not know count as none: {named}{more}"]


def text_to_score(saved: SavedModel, file: str | None, encoding: str | None = None) -> Segment:
    """Return the text on which to evaluate a model: a file, or by default its held-out part."""
    if file is None:
        return held_out(own_dataset(saved))
    return whole_text(file, saved, encoding)
