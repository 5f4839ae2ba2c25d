"""Reading of a collection: the texts of its sources one after another, with their labels.

A record is in memory as a whole; a file with a label is read in pieces.
"""

from __future__ import annotations

import codecs
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from chargen.config import ReadConfig
from chargen.data.collection import Collection
from chargen.data.decoding import LineEnds, Piece, decoded, line_blocks
from chargen.data.records import KINDS, Note, Row, field_rows
from chargen.data.sources import OPENERS, Source
from chargen.data.texts import UNLABELLED
from chargen.errors import CorpusError
from chargen.tokenizers.base import to_utf8
from chargen.tokenizers.byte import ESCAPE, bytes_of

FEWEST = 20  # records
MOST_LABELS = 1000
NAMED = 5  # labels in a note
LONGEST_SHOWN = 60  # characters of a label in a message
BLOCK = 1 << 16  # characters, or more, of texts that are tokenised at once

Part = tuple[str, str | None, bool]
"""A text or a part of one, its label, and whether the text ends with it."""


def is_collection(config: ReadConfig) -> bool:
    """Tell whether a corpus consists of texts that are read each by itself."""
    return config.records is not None or config.label is not None


class Tally:
    """Counts what reading meets, for the notes to the user.

    Args:
        note: takes a sentence about a source.
    """

    def __init__(self, note: Note = lambda _: None) -> None:
        self.note, self.line_ends = note, LineEnds()
        self.empty, self.with_end = 0, 0

    def notes(self, config: ReadConfig) -> Iterator[str]:
        """Yield what records were left out, once all is read."""
        if self.empty:
            yield f"{self.empty:,} empty {_nouns(config, self.empty)} left out"
        if self.with_end:
            why = f"the character that ends each, U+{ord(config.end or ''):04X}"
            yield f"{self.with_end:,} {_nouns(config, self.with_end)} left out: with {why}, inside"


def shown_label(name: str) -> str:
    """Return a label for a message: a long one is cut, strange characters are spelled."""
    if len(name) > LONGEST_SHOWN:
        return f"{name[:LONGEST_SHOWN]!r}..."
    return name if name.isprintable() and name == name.strip() else repr(name)


def _nouns(config: ReadConfig, count: int) -> str:
    noun = "record" if config.records else "file"
    return noun if count == 1 else f"{noun}s"


# -- one text after another -----------------------------------------------------------------


def read_texts(sources: Iterable[Source], config: ReadConfig, tally: Tally) -> Iterator[Part]:
    """Yield the texts of a corpus with their labels, each record with its end.

    Args:
        sources: of the corpus.
        config: how they are read.
        tally: counts what is left out.

    Raises:
        CorpusError: a source cannot be read or decoded, or its records lack a field.
    """
    for source in sources:
        if config.end is None:
            label = name_label(source, config)
            yield from ((piece, label, False) for piece in _pieces(source, config, tally))
            yield "", label, True
        else:
            yield from _records(source, config, config.end, tally)


def _records(source: Source, config: ReadConfig, end: str, tally: Tally) -> Iterator[Part]:
    for text, label in _rows(source, config, tally):
        if not text:
            tally.empty += 1
        elif end in text:
            tally.with_end += 1
        else:
            yield text + end, label or None, True


def _rows(source: Source, config: ReadConfig, tally: Tally) -> Iterator[Row]:
    if _has_rows(source, config):
        pieces = decoded(source, source.encoding or config.encoding)
        rows = field_rows(source, pieces, config.field or "", config.label, tally.note)
        for text, label in rows:
            yield "".join(_folded([text], config, tally)) if "\r" in text else text, label
        return
    pieces, label = _pieces(source, config, tally), name_label(source, config)
    if config.records == "lines":
        for lines in line_blocks(pieces):
            yield from ((line.removesuffix("\n"), label) for line in lines)
    else:
        yield "".join(pieces), label


def _has_rows(source: Source, config: ReadConfig) -> bool:
    return config.records == "rows" and source.kind in KINDS


def _pieces(source: Source, config: ReadConfig, tally: Tally) -> Iterator[str]:
    """Yield the text of a source; for the byte tokenizer its bytes as a text of a byte model."""
    if config.tokenizer == "byte" and config.encoding is None:
        return codecs.iterdecode(source.blocks(), "utf-8", ESCAPE)
    return _folded(decoded(source, source.encoding or config.encoding), config, tally)


def _folded(pieces: Iterable[str], config: ReadConfig, tally: Tally) -> Iterator[str]:
    fold = config.newlines == "fold" and config.tokenizer != "byte"
    return tally.line_ends.folded(pieces) if fold else iter(pieces)


def name_label(source: Source, config: ReadConfig) -> str | None:
    """Return the label that a source has by its name: that of its folder, or its own."""
    if config.label is None or config.field is not None or not _is_file(source):
        return None
    path = Path(source.name).absolute()
    if config.label == "folder":
        return path.parent.name or None
    return (path.with_suffix("") if path.suffix.lower() in OPENERS else path).stem


def _is_file(source: Source) -> bool:
    return source.data is None and not source.spooled


def joined(texts: Iterable[Part], config: ReadConfig) -> Iterator[Piece]:
    """Join texts, one after another, to larger pieces."""
    whole = bytes_of if config.tokenizer == "byte" else str
    held, size = list[str](), 0
    for text, _, _ in texts:
        held.append(text)
        size += len(text)
        if size >= BLOCK:
            yield whole("".join(held))
            held, size = [], 0
    if held:
        yield whole("".join(held))


# -- what is known of all of them -------------------------------------------------------------


class Collector:
    """Collects lengths and labels of texts that pass by.

    Args:
        config: how they are read.
    """

    def __init__(self, config: ReadConfig) -> None:
        self._config = config
        self._names = dict[str | None, int]()
        self._lengths, self._labels, self._hashes = array("q"), array("i"), array("q")

    def watched(self, texts: Iterable[Part]) -> Iterator[Part]:
        """Yield the texts as they are.

        Raises:
            CorpusError: there are more than 1,000 labels.
            TokenizerError: a label has a lone surrogate.
        """
        names, by_bytes, length = self._names, self._config.tokenizer == "byte", 0
        names[None] = UNLABELLED
        for part in texts:
            text, label, last = part
            length += len(bytes_of(text)) if by_bytes else len(text)
            if last and length:
                if label not in names:
                    names[label] = len(names) - 1
                    self._check_labels(str(label))
                self._lengths.append(length)
                self._labels.append(names[label])
                if self._config.end is not None:
                    self._hashes.append(hash(text))
                length = 0
            yield part

    def _check_labels(self, newest: str) -> None:
        to_utf8(newest)
        if len(self._names) - 1 > MOST_LABELS:
            some = ", ".join(shown_label(str(name)) for name in [*self._names][1:4])
            raise CorpusError(
                f"label {self._config.label!r} has more than {MOST_LABELS:,} values ({some}, ...); "
                "name a field with fewer: --label NAME"
            )

    def collection(self) -> Collection:
        """Return what was collected."""
        lengths, labels = np.array(self._lengths, np.int64), np.array(self._labels, np.int32)
        names = [name for name in self._names if name is not None]
        hashes = None if self._config.end is None else np.array(self._hashes, np.int64)
        return Collection.of(lengths, labels, names, hashes)


def collection_notes(collection: Collection, config: ReadConfig) -> Iterator[str]:
    """Yield how many texts there are, of which labels, and how many have none."""
    count, sizes = len(collection), collection.sizes()
    counted = f"{count:,} {_nouns(config, count)}"
    if not sizes:
        yield counted
        return
    named = ", ".join(f"{shown_label(name)} {size:,}" for name, size in sizes[:NAMED])
    more = ", ..." if len(sizes) > NAMED else ""
    yield f"{counted}, {len(sizes):,} {'label' if len(sizes) == 1 else 'labels'}: {named}{more}"
    if without := int(np.count_nonzero(collection.labels == UNLABELLED)):
        yield f"{without:,} of {counted} {'has' if without == 1 else 'have'} no label"


def check_names(sources: Iterable[Source], config: ReadConfig) -> None:
    """Check that sources have names, if labels are made of these.

    Raises:
        CorpusError: one is no file.
    """
    for source in sources:
        if config.label is not None and config.field is None and not _is_file(source):
            raise CorpusError(
                f"label is {config.label!r}, but {source.name!r} is no file that has a name; "
                "save it to a file first"
            )


def check_collection(collection: Collection, config: ReadConfig) -> None:
    """Check that there is enough to learn from, and to hold out.

    Raises:
        CorpusError: there are too few records, no labels, or too few of one.
    """
    count = len(collection)
    if collection.has_records and count < FEWEST:
        unit = {"lines": "line", "rows": "row", "files": "file"}[str(config.records)]
        raise CorpusError(
            f"the corpus has {count} {_nouns(config, count)}, one a {unit}; at least {FEWEST} are "
            "needed: name more, or leave out --records and --label to read it as one text"
        )
    sizes = collection.sizes()
    if config.label is not None and not sizes:
        raise CorpusError(f"no text has a label by {config.label!r}; name another --label")
    if sizes and collection.has_records and sizes[-1][1] < 2:
        few = [name for name, size in sizes if size < 2]
        more = f" (and {len(few) - 1:,} more labels)" if len(few) > 1 else ""
        raise CorpusError(
            f"label {shown_label(few[0])} has one record{more}; each needs two, so that one can be "
            "held out: add records, leave this label empty, or name another --label"
        )
