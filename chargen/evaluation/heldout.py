"""The text that a model is measured on: a file, or the part of its own corpus kept from it."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

from chargen.config import ReadConfig
from chargen.data.dataset import Dataset, Segment, Text, encode_dataset, read_text
from chargen.errors import ChargenError, CheckpointError, CorpusError
from chargen.model.saved import SavedModel
from chargen.storage.checkpoint import read_resume_header

OWN = ("encoding", "newlines", "separator", "field")  # how a corpus was read


def read_again(source: dict[str, Any], kind: str) -> Text:
    """Read a corpus from where it was.

    Args:
        source: what ``job`` wrote of it.
        kind: of the tokenizer.

    Raises:
        CorpusError: it is not there any more, or has changed.
    """
    kept = {name: source[name] for name in OWN}
    text = read_text(ReadConfig(tuple(source["sources"]), kind, **kept))
    if text.sha256 != source["sha256"]:
        names = ", ".join(source["sources"])
        raise CorpusError(f"its corpus ({names}) has changed; bring the old text back")
    return text


def own_dataset(saved: SavedModel) -> Dataset:
    """Return the corpus that a model learned, split and tokenised as it was.

    A model's file names its texts without their folders: these stand in the run's own files,
    if those are beside it; else the texts are looked for in the working directory.

    Args:
        saved: the model.

    Raises:
        CheckpointError: the corpus is not at hand, or has changed.
    """
    source, config = saved.section("corpus"), saved.section("config")
    with contextlib.suppress(CheckpointError):
        resumed = read_resume_header(saved.path.parent)["source"]
        source = resumed if resumed.get("sha256") == source.get("sha256") else source
    try:
        text = read_again(source, saved.tokenizer.kind)
        fracs = float(config.get("val_frac", 0)), float(config.get("test_frac", 0))
    except (ChargenError, KeyError, TypeError, ValueError) as error:  # what a file may claim
        sources = source.get("sources")
        names = ", ".join(map(str, sources)) if isinstance(sources, list) else "unknown"
        why = error if isinstance(error, ChargenError) else "its file does not say how it was read"
        raise CheckpointError(
            f"the text that the model learned, {names}, is not at hand ({why}); "
            "run this in the folder that holds it"
        ) from None
    return encode_dataset(text, saved.tokenizer, *fracs)


def held_out(dataset: Dataset) -> Segment:
    """Return the part of a model's own corpus that was held out for validation.

    Raises:
        CheckpointError: nothing was held out.
    """
    if not len(dataset.validation):
        raise CheckpointError(
            "nothing of the model's own text was held out (--val-frac 0); name a file to measure"
        )
    return dataset.validation


def whole_text(file: str, saved: SavedModel, encoding: str | None = None) -> Segment:
    """Return a file as a text to be scored; it stands after a newline.

    Raises:
        CorpusError: it is missing, empty, binary or not in its encoding.
    """
    newlines = saved.section("corpus").get("newlines", ReadConfig.newlines)
    reading = ReadConfig((file,), saved.tokenizer.kind, encoding=encoding, newlines=newlines)
    dataset = encode_dataset(read_text(reading, least=1), saved.tokenizer, 1.0)
    return replace(dataset.validation, context=saved.tokenizer.encode("\n"))


def text_to_score(saved: SavedModel, file: str | None, encoding: str | None = None) -> Segment:
    """Return the text to measure a model on: a file's, or without one the held-out part."""
    if file is None:
        return held_out(own_dataset(saved))
    return whole_text(file, saved, encoding)
