"""Texts and their ids: reading in pieces, splitting, tokenising once.

Ids are memory-mapped from the cache, so that memory does not grow with the text. Legend of
shapes: N tokens of a part, C tokens before it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chargen.config import ReadConfig
from chargen.data.decoding import (
    LineEnds,
    Piece,
    byte_pieces,
    text_pieces,
    to_bytes,
    unicode_codec,
)
from chargen.data.documents.reading import takes_documents, texts_of
from chargen.data.encoding import encoded
from chargen.data.records import KINDS, Note, check_field
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
LAYOUT = 4  # of what the cache keeps of a text; raise it whenever that changes
PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Text:
    """A corpus that can be read again and again, in pieces of text, or of bytes.

    Attributes:
        sources: where it comes from.
        config: how it is read.
        length: its characters, or bytes for the byte tokenizer.
        sha256: checksum of the content, by which a resumed run knows its corpus again.
        notes: what a user should know about the reading, a sentence each.
    """

    sources: tuple[Source, ...]
    config: ReadConfig
    length: int
    sha256: str
    notes: tuple[str, ...] = ()

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
        for piece in _pieces(self.sources, self.config):
            digest.update(to_bytes(piece))
            yield piece
        if digest.hexdigest() != self.sha256:
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

        The last ``test_frac`` is for testing, ``val_frac`` before that for validation.
        """
        held_out = (val_frac + test_frac, test_frac)
        borders = [int((1 - fraction) * self.length) for fraction in held_out]
        return _cut(self.pieces(), borders)


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
        return Segment(self.tokenizer, ids, before[-WARM:], characters)


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
    return _examined(texts_of(sources, config, notes), notes, config, least)


def read_like(own: ReadConfig, file: str, encoding: str | None = None, least: int = 1) -> Text:
    """Return a text read as the corpus of a model was: every command reads the same.

    Line ends are folded or kept, records give the same field, and a byte model takes the bytes as
    they are. What is neither UTF-8 nor has a byte-order mark is in the encoding of the corpus.

    Args:
        own: how the corpus of the model was read.
        file: what is read, or ``-`` for standard input.
        encoding: of the text, where the user named it.
        least: characters, or bytes, that there must be.

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
    field = own.field if Source(file).kind in KINDS else None
    config = replace(own, sources=(file,), encoding=encoding, field=field)
    return _examined(sources, notes, config, least)


def _examined(
    sources: list[Source], notes: list[str], config: ReadConfig, least: int | None
) -> Text:
    learns = least is None
    notes += check_field(sources, config.field)
    ends, length, digest = LineEnds(), 0, hashlib.sha256()
    pieces = _pieces(sources, replace(config, newlines="keep"), notes.append)
    if config.newlines == "fold" and config.tokenizer != "byte":
        pieces = ends.folded(pieces)
    for piece in pieces:
        length += len(piece)
        digest.update(to_bytes(piece))
    if learns and length < SMALLEST:
        raise CorpusError(
            f"the corpus has {length} characters; at least {SMALLEST} are needed, and some "
            "thousands to learn a voice"
        )
    if not length and least:
        raise CorpusError(f"{sources[0].name!r} is empty; give a text of at least one character")
    notes += ends.notes("--newlines keep leaves them" if learns else "as in the training text")
    return Text(tuple(sources), config, length, digest.hexdigest(), tuple(notes))


def _pieces(sources: Iterable[Source], config: ReadConfig, *note: Note) -> Iterator[Any]:
    read = byte_pieces if config.tokenizer == "byte" else text_pieces
    return read(list(sources), config, *note)


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
    parts = text.sha256, tokenizer.to_json(), val_frac, test_frac, LAYOUT
    key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    dtype = np.min_scalar_type(tokenizer.vocab_size - 1)

    def encode() -> Iterator[tuple[bytes, dict[str, Any]]]:
        for name, part in zip(PARTS, text.parts(val_frac, test_frac), strict=True):
            yield from encoded(name, part, tokenizer, dtype)

    ids, facts = cached_ids(key, dtype, encode)
    ends = np.cumsum([facts.get(f"{name}_tokens", 0) for name in PARTS])
    train, *held_out = np.split(ids[: ends[-1]], ends[:-1])
    before, segments = train, list[Segment]()
    for name, own in zip(PARTS[1:], held_out, strict=True):
        sizes = (facts.get(f"{name}_{unit}", 0) for unit in ("characters", "bytes"))
        segments.append(Segment(tokenizer, own, before[-WARM:], *sizes))
        before = np.concatenate([before[-WARM:], own[-WARM:]])
    return Dataset(
        tokenizer,
        train,
        validation=segments[0],
        test=segments[1],
        unknown_rate=0.0 if tokenizer.unknown_id is None else facts.get("unknown_rate", 0.0),
        notes=(f"{facts['not_kept']} (the ids stay in memory)",) if "not_kept" in facts else (),
    )
