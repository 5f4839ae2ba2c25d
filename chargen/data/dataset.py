"""Texts and their ids: reading in pieces, splitting, tokenising once.

Ids are memory-mapped from the cache, so that memory does not grow with the text. Legend of
shapes: N tokens of a part, C tokens before it.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chargen.config import ReadConfig
from chargen.data.collecting import (
    Collector,
    Tally,
    check_collection,
    check_names,
    collection_notes,
    is_collection,
    joined,
    read_texts,
)
from chargen.data.collection import Collection, Split, borders_of, part_of
from chargen.data.decoding import (
    Piece,
    byte_pieces,
    decoded,
    text_pieces,
    to_bytes,
    unicode_codec,
)
from chargen.data.documents.reading import takes_documents, texts_of
from chargen.data.encoding import encoded
from chargen.data.records import KINDS, check_field, has_field
from chargen.data.sources import Source, check_not_empty, find_sources
from chargen.data.texts import Texts
from chargen.errors import CorpusError
from chargen.storage.cache import cached_ids
from chargen.tokenizers import Ids, Tokenizer, build_tokenizer
from chargen.tokenizers.byte import text_of

SMALLEST = 20  # characters, or bytes, below which there is nothing to learn
WARM = 256  # characters of context before a part that is scored
LARGEST = 100_000_000  # characters of a text in memory
SHOWN = 3  # names of files in a message
LAYOUT = 5  # of what the cache keeps of a text; raise it whenever that changes
PARTS = ("train", "validation", "test")
NO_TEXTS = np.zeros(0, np.int64)


@dataclass(frozen=True)
class Text:
    """A corpus that can be read again and again, in pieces of text, or of bytes.

    Attributes:
        sources: where it comes from.
        config: how it is read.
        length: its characters, or bytes for the byte tokenizer.
        sha256: checksum of the content, by which a resumed run knows its corpus again.
        notes: what a user should know about the reading, a sentence each.
        collection: the texts in it, if each is read by itself.
    """

    sources: tuple[Source, ...]
    config: ReadConfig
    length: int
    sha256: str
    notes: tuple[str, ...] = ()
    collection: Collection | None = None

    @property
    def spooled(self) -> bool:
        """Whether a part came through a pipe and cannot be read by another process."""
        return any(source.spooled for source in self.sources)

    def pieces(self) -> Iterator[Piece]:
        """Read it from the beginning.

        Raises:
            CorpusError: at the end, if it is not what it was when it was first read.
        """
        digest = hashlib.sha256()
        for piece in _pieces(self.sources, self.config, Tally()):
            digest.update(to_bytes(piece))
            yield piece
        if _checksum(digest, self.collection) != self.sha256:
            names = ", ".join(repr(source.name) for source in self.sources[:SHOWN])
            more = ", ..." if len(self.sources) > SHOWN else ""
            raise CorpusError(
                f"the corpus changed while it was being read ({names}{more}); run the command "
                "again when nothing writes to it"
            )

    def whole(self) -> str:
        """Return all of it; of a byte model as ``text_of`` returns bytes.

        Raises:
            CorpusError: it has more than 100,000,000 characters, or changes meanwhile.
        """
        if self.length > LARGEST:
            raise CorpusError(
                f"the text has {self.length:,} characters; allowed: {LARGEST:,}; cut it, or use "
                "chargen eval, which reads it in pieces"
            )
        if self.config.tokenizer == "byte":
            return text_of(b"".join(map(to_bytes, self.pieces())))
        return "".join(map(str, self.pieces()))

    def begins_with(self, length: int, sha256: str) -> bool:
        """Tell whether its first characters, or bytes, have this checksum."""
        digest = hashlib.sha256()
        for piece in _cut(self.pieces(), [length])[0]:
            digest.update(to_bytes(piece))
        return digest.hexdigest() == sha256

    def parts(self, val_frac: float, test_frac: float) -> list[Iterator[Piece]]:
        """Return training, validation and test part, to be read in this order.

        The last ``test_frac`` is for testing, ``val_frac`` before that for validation; of texts
        that are read each by itself, see ``Collection.split``.
        """
        if (split := self.split(val_frac, test_frac)) is None:
            held_out = (val_frac + test_frac, test_frac)
            return _cut(self.pieces(), [int((1 - f) * self.length) for f in held_out])
        return [part_of(self.pieces, split, part) for part in range(len(PARTS))]

    def split(self, val_frac: float, test_frac: float) -> Split | None:
        """Return to which part each text belongs; None if the corpus is one text."""
        if self.collection is None:
            return None
        return self.collection.split(val_frac, test_frac, self.config.split_seed)


@dataclass(frozen=True)
class Segment:
    """A piece of text to be scored.

    Attributes:
        tokenizer: of its ids.
        ids: its tokens (N,).
        context: the last tokens before it (C,), on which a state is warmed.
        characters: how many it has, for bits per character.
        bytes: its size in UTF-8; 0 where it is not known.
        notes: what a user should know about its reading, a sentence each.
        texts: of which it consists, if each is read by itself; then there is no context.
    """

    tokenizer: Tokenizer
    ids: Ids
    context: Ids
    characters: int
    bytes: int = 0
    notes: tuple[str, ...] = ()
    texts: Texts | None = None

    def __len__(self) -> int:
        """Return the number of tokens."""
        return len(self.ids)

    @property
    def characters_per_token(self) -> float:
        """Mean number of characters that a token stands for."""
        return self.characters / len(self.ids) if len(self.ids) else 1.0

    @property
    def with_context(self) -> NDArray[np.int64]:
        """The ids from the context on, (C + N,) in int64."""
        ids: NDArray[np.int64] = np.concatenate([self.context, self.ids]).astype(np.int64)
        return ids

    def first(self, count: int) -> Segment:
        """Return the segment cut to this many tokens at most."""
        ids = self.ids[:count]
        fraction = len(ids) / max(1, len(self.ids))
        characters, size = round(self.characters * fraction), round(self.bytes * fraction)
        texts = self.texts and self.texts.first(len(ids))
        return replace(self, ids=ids, characters=characters, bytes=size, texts=texts)


@dataclass(frozen=True)
class Dataset:
    """A tokenised corpus: a training part, and two parts that are scored.

    Attributes:
        tokenizer: of all ids.
        train: ids of the training part (N,).
        validation: held out; may be empty.
        test: after that; nothing is chosen by it; mostly empty.
        unknown_rate: probability with which training hides a character (0 if none is unknown).
        notes: what a user should know about how it is kept, a sentence each.
        texts: of the training part, if each is read by itself.
        labels: names of the labels.
    """

    tokenizer: Tokenizer
    train: Ids
    validation: Segment
    test: Segment
    unknown_rate: float = 0.0
    notes: tuple[str, ...] = ()
    texts: Texts | None = None
    labels: tuple[str, ...] = ()

    def end_of_train(self, count: int) -> Segment:
        """Return the last tokens of the training part, to be scored; characters are estimated."""
        ids, before = self.train[-count:], self.train[:-count]
        characters = round(len(ids) * self.validation.characters_per_token)
        if self.texts is None:
            return Segment(self.tokenizer, ids, before[-WARM:], characters)
        texts = self.texts.last(len(ids))
        return Segment(self.tokenizer, ids, before[:0], characters, texts=texts)


# -- reading ------------------------------------------------------------------------------


def read_text(config: ReadConfig, least: int | None = None) -> Text:
    """Look through the sources once: do they decode, how long are they, what is their checksum.

    Args:
        config: which text, and how it is read.
        least: characters, or bytes, that there must be; by default enough to learn from.

    Raises:
        CorpusError: a source is missing, empty, unreadable, binary or not in its encoding,
            or there is too little text.
    """
    sources, notes = find_sources(config.sources, documents=takes_documents(config))
    for source in sources if least is None else ():
        check_not_empty(source)
    check_names(sources, config)
    sources = texts_of(sources, config, notes)
    notes += check_field(sources, config.field)
    return _examined(sources, notes, config, least)


def read_like(
    own: ReadConfig,
    file: str,
    encoding: str | None = None,
    least: int = 1,
    *,
    apart: bool = False,
) -> Text:
    """Return a text read as the corpus of a model was: every command reads the same.

    Line ends are folded or kept, records give the same field, and a byte model takes the bytes as
    they are. What is neither UTF-8 nor has a byte-order mark is in the encoding of the corpus.

    Args:
        own: how the corpus of the model was read.
        file: what is read, or ``-`` for standard input.
        encoding: of the text, where the user named it.
        least: characters, or bytes, that there must be.
        apart: whether it is records, or a text with a label, if the corpus was; labels are read
            where the file has them. Otherwise it is one text.

    Raises:
        CorpusError: it is missing, binary, not in its encoding, or too short.
    """
    sources, notes = find_sources([file], documents=takes_documents(own))
    sources = texts_of(sources, replace(own, encoding=encoding), notes)
    if encoding is None and own.encoding is not None:
        encoding = unicode_codec(sources)
        if encoding is None:
            encoding = own.encoding
            notes.append(f"{file!r} is not UTF-8: read as {encoding}, as the training text was")
    config = replace(own, sources=(file,), encoding=encoding, records=None, label=None)
    config = replace(config, field=own.field if Source(file).kind in KINDS else None)
    notes += check_field(sources, config.field)
    if apart:
        config = _apart(own, config, sources)
    return _examined(sources, notes, config, least)


def _apart(own: ReadConfig, config: ReadConfig, sources: list[Source]) -> ReadConfig:
    """Return how texts are read each by itself, as in the corpus of a model."""
    label = own.label
    if label and config.field:
        pieces = (decoded(source, source.encoding or config.encoding) for source in sources)
        found = zip(sources, pieces, strict=True)
        label = label if any(has_field(*file, label) for file in found) else None
    return replace(config, records=own.records, field=own.field, label=label)


def _examined(
    sources: list[Source], notes: list[str], config: ReadConfig, least: int | None
) -> Text:
    learns = least is None
    tally, collector = Tally(notes.append), Collector(config)
    length, digest = 0, hashlib.sha256()
    for piece in _pieces(sources, config, tally, collector):
        length += len(piece)
        digest.update(to_bytes(piece))
    collection = collector.collection() if is_collection(config) else None
    if learns and collection is not None:
        check_collection(collection, config)
    if learns and length < SMALLEST:
        raise CorpusError(
            f"the corpus has {length} characters; at least {SMALLEST} are needed, and some "
            "thousands to learn a voice"
        )
    if not length and least:
        raise CorpusError(f"{sources[0].name!r} is empty; give a text of at least one character")
    why = "--newlines keep leaves them" if learns else "as in the training text"
    notes += (*tally.line_ends.notes(why), *tally.notes(config))
    notes += () if collection is None else collection_notes(collection, config)
    sha256 = _checksum(digest, collection)
    return Text(tuple(sources), config, length, sha256, tuple(notes), collection)


def _pieces(
    sources: Iterable[Source], config: ReadConfig, tally: Tally, collector: Collector | None = None
) -> Iterator[Any]:
    if is_collection(config):
        texts = read_texts(sources, config, tally)
        return joined(collector.watched(texts) if collector else texts, config)
    if config.tokenizer == "byte":
        return byte_pieces(list(sources), config, tally.note)
    pieces = text_pieces(list(sources), replace(config, newlines="keep"), tally.note)
    return tally.line_ends.folded(pieces) if config.newlines == "fold" else pieces


def _checksum(content: Any, collection: Collection | None) -> str:
    """Return the checksum of a content by its digest, with that of its texts, if it has some."""
    own: str = content.hexdigest()
    if collection is None:
        return own
    return hashlib.sha256(f"{own} {collection.sha256}".encode()).hexdigest()


def _cut(pieces: Iterator[Piece], borders: list[int]) -> list[Iterator[Piece]]:
    """Cut pieces at some places; what comes out has to be read in order."""
    rest: list[Piece] = []
    position = 0

    def until(border: int | None) -> Iterator[Piece]:
        nonlocal position
        while border is None or position < border:
            piece = rest.pop() if rest else next(pieces, None)
            if piece is None:
                return
            if border is not None and position + len(piece) > border:
                rest.append(piece[border - position :])
                piece = piece[: border - position]
            position += len(piece)
            yield piece

    return [until(border) for border in [*borders, None]]


# -- tokenising ---------------------------------------------------------------------------


def tokenize(text: Text, val_frac: float, test_frac: float = 0.0) -> Dataset:
    """Split a text, learn the tokenizer from the training part, and encode all parts."""
    train, *_ = text.parts(val_frac, test_frac)
    tokenizer = build_tokenizer(text.config.tokenizer, train, text.config.vocab_size)
    return encode_dataset(text, tokenizer, val_frac, test_frac)


def encode_dataset(
    text: Text, tokenizer: Tokenizer, val_frac: float, test_frac: float = 0.0
) -> Dataset:
    """Split a text and encode all parts with a tokenizer that exists already; once, then cached."""
    split = text.split(val_frac, test_frac)
    parts = (
        *(text.sha256, tokenizer.to_json(), val_frac, test_frac, LAYOUT),
        *((text.config.records, text.config.split_seed) if split else ()),
    )
    key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    dtype = np.min_scalar_type(tokenizer.vocab_size - 1)
    own = [split.of(n)[0] if split else NO_TEXTS for n in range(len(PARTS))]

    def encode() -> Iterator[tuple[bytes, dict[str, Any]]]:
        tokens = [array("q") for _ in PARTS]
        parts = zip(PARTS, text.parts(val_frac, test_frac), own, tokens, strict=True)
        for name, part, lengths, counts in parts:
            yield from encoded(name, part, tokenizer, dtype, lengths, counts)
        if split and text.collection is not None:
            yield from ((counts.tobytes(), {}) for counts in tokens)
            yield b"", {"repeated": text.collection.repeated(split)}

    ids, facts = cached_ids(key, dtype, encode)
    sizes = [facts.get(f"{name}_tokens", 0) for name in PARTS]
    train, *held_out, tail = np.split(ids, np.cumsum(sizes))
    texts = _texts(text, split, tokenizer, tail) if split else [None] * len(PARTS)
    validation, test = _segments(tokenizer, [train, *held_out], texts, facts)
    return Dataset(
        tokenizer,
        train,
        validation,
        test,
        unknown_rate=0.0 if tokenizer.unknown_id is None else facts.get("unknown_rate", 0.0),
        notes=tuple(_dataset_notes(split, facts)),
        texts=texts[0],
        labels=() if text.collection is None else text.collection.names,
    )


def _segments(
    tokenizer: Tokenizer, parts: list[Ids], texts: Sequence[Texts | None], facts: dict[str, Any]
) -> Iterator[Segment]:
    """Yield the validation and the test part."""
    before = parts[0]
    for name, own, apart in zip(PARTS[1:], parts[1:], texts[1:], strict=True):
        characters, size = (facts.get(f"{name}_{unit}", 0) for unit in ("characters", "bytes"))
        context = before[-WARM:] if apart is None else before[:0]
        yield Segment(tokenizer, own, context, characters, size, texts=apart)
        before = np.concatenate([before[-WARM:], own[-WARM:]])


def _texts(text: Text, split: Split, tokenizer: Tokenizer, tail: Ids) -> Sequence[Texts | None]:
    """Return the texts of each part; the tail of the cached ids has their tokens, if need be."""
    before = int(tokenizer.encode(text.config.end or "\n")[-1])
    tokens = np.array(array("q", tail.tobytes()), np.int64)
    texts, done = list[Texts](), 0
    for part in range(len(PARTS)):
        lengths, labels = split.of(part)
        counts = tokens[done : done + len(labels)] if len(tokens) else lengths
        done += len(labels)
        texts.append(Texts(borders_of(counts), labels, before, text.config.end is not None))
    return texts


def _dataset_notes(split: Split | None, facts: dict[str, Any]) -> Iterator[str]:
    if "not_kept" in facts:
        yield f"{facts['not_kept']} (the ids stay in memory)"
    if split and (count := facts.get("repeated", 0)):
        held = int(np.count_nonzero(split.parts))
        words = f"{held:,} held-out records {'is' if count == 1 else 'are'} word for word"
        yield f"{count:,} of {words} in the training part too"
