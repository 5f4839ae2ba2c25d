"""Texts with labels, to classify: held-out ones of a model's corpus, or those of other files.

Legend of shapes: N texts, L labels of the model.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chargen.data.collecting import collection_notes
from chargen.data.dataset import Dataset, Text, read_like
from chargen.data.texts import UNLABELLED, Texts
from chargen.errors import CheckpointError
from chargen.evaluation.classification import Labels
from chargen.evaluation.heldout import unknown_labels
from chargen.model.saved import SavedModel
from chargen.tokenizers import Ids, Tokenizer
from chargen.tokenizers.byte import bytes_of, text_of


class LabelledTexts(NamedTuple):
    """Texts, and their labels as far as they are known.

    Attributes:
        texts: without the character that ends a record.
        labels: numbers of the model's labels (N,), -1 where there is none.
        names: where each text comes from.
        notes: what a user should know, a sentence each.
    """

    texts: list[str]
    labels: Labels
    names: list[str]
    notes: tuple[str, ...] = ()

    def with_labels(self) -> LabelledTexts:
        """Return those whose label is known."""
        known = np.flatnonzero(self.labels != UNLABELLED).tolist()
        texts, names = ([own[i] for i in known] for own in (self.texts, self.names))
        return self._replace(texts=texts, labels=self.labels[known], names=names)

    def lines(self) -> LabelledTexts:
        """Return the lines that are not empty, each as a text."""
        parts = [[line for line in text.split("\n") if line.strip()] for text in self.texts]
        return self._of_parts(parts)

    def cut(self, size: int) -> LabelledTexts:
        """Return passages of so many characters that do not overlap, without shorter rests."""
        parts = [
            [text[start : start + size] for start in range(0, len(text) - size + 1, size)]
            for text in self.texts
        ]
        return self._of_parts(parts)

    def _of_parts(self, parts: list[list[str]]) -> LabelledTexts:
        names = [
            f"{name}:{n}"
            for name, own in zip(self.names, parts, strict=True)
            for n in range(1, len(own) + 1)
        ]
        labels = np.repeat(self.labels, [len(own) for own in parts])
        return self._replace(texts=[t for own in parts for t in own], labels=labels, names=names)


def check_labels(saved: SavedModel) -> None:
    """Refuse a model that has no labels.

    Raises:
        CheckpointError: it has none.
    """
    if not saved.config.labels:
        raise CheckpointError(
            f"model {saved.name!r} has no labels; train one: chargen train FILE --label NAME"
        )


def held_out_texts(dataset: Dataset) -> LabelledTexts:
    """Return the held-out texts of a model's corpus.

    Raises:
        CheckpointError: nothing is held out.
    """
    part = dataset.validation
    if part.texts is None or not len(part.texts):
        raise CheckpointError("the model has no held-out texts (--val-frac 0); name files")
    texts = _decoded(part.tokenizer, part.ids, part.texts)
    names = [f"{number:,}" for number in range(1, len(texts) + 1)]
    return LabelledTexts(texts, part.texts.labels.astype(np.int64), names)


def learned_texts(dataset: Dataset) -> LabelledTexts:
    """Return the texts of the training part."""
    assert dataset.texts is not None
    texts = _decoded(dataset.tokenizer, dataset.train, dataset.texts)
    return LabelledTexts(texts, dataset.texts.labels.astype(np.int64), [""] * len(texts))


def texts_of_files(
    saved: SavedModel, files: Sequence[str], encoding: str | None = None
) -> LabelledTexts:
    """Return the texts of files, read as the corpus of a model was.

    Args:
        saved: the model. A label is known where the file has it, and the model too.
        files: their names.
        encoding: of the files, where the user named it.

    Raises:
        CorpusError: one is missing, empty, binary or not in its encoding.
    """
    found = [_of_file(saved, file, encoding) for file in files]
    return LabelledTexts(
        [text for own in found for text in own.texts],
        np.concatenate([own.labels for own in found]),
        [name for own in found for name in own.names],
        tuple(dict.fromkeys(note for own in found for note in own.notes)),
    )


def _of_file(saved: SavedModel, file: str, encoding: str | None) -> LabelledTexts:
    text = read_like(saved.reading, file, encoding, apart=True)
    if text.collection is None:
        return LabelledTexts([text.whole()], np.array([UNLABELLED]), [file], text.notes)
    own = text.collection.numbered(saved.config.labels)
    texts = [record.removesuffix(text.config.end or "") for record in _cut(text, own.lengths)]
    names = [file] if len(texts) == 1 else [f"{file}:{n}" for n in range(1, len(texts) + 1)]
    told = set(collection_notes(text.collection, text.config))
    notes = (*(note for note in text.notes if note not in told), *unknown_labels(text, saved))
    return LabelledTexts(texts, own.labels.astype(np.int64), names, notes)


def _cut(text: Text, lengths: NDArray[np.int64]) -> list[str]:
    """Return the texts of a collection, by their characters or bytes."""
    ends = np.cumsum(lengths).tolist()
    borders = list(itertools.pairwise([0, *ends]))
    if text.config.tokenizer == "byte":
        data = bytes_of(text.whole())
        return [text_of(data[start:end]) for start, end in borders]
    whole = text.whole()
    return [whole[start:end] for start, end in borders]


def _decoded(tokenizer: Tokenizer, ids: Ids, texts: Texts) -> list[str]:
    """Return texts without the character that ends a record."""
    ends = texts.borders[1:] - texts.are_records
    pairs = zip(texts.borders[:-1].tolist(), ends.tolist(), strict=True)
    return [tokenizer.decode(ids[start:end].tolist()) for start, end in pairs]
