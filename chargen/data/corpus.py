"""From texts to ids: splitting, tokenising once, and the lanes that training reads.

A text is read in pieces and its ids are memory-mapped from the cache, so that memory does not
grow with the text. Legend of shapes: B lanes (batch), T steps, N tokens of the training text.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chargen.config import ReadConfig
from chargen.data.sources import Source, byte_pieces, check_field, find_sources, folded, text_pieces
from chargen.errors import CorpusError
from chargen.storage.cache import cached_ids
from chargen.tokenizers import Ids, Tokenizer, build_tokenizer
from chargen.tokenizers.base import to_utf8
from chargen.tokenizers.byte import ByteTokenizer

SMALLEST = 20  # characters, or bytes, below which there is nothing to learn
WARM = 256  # characters of context before a validation lane
LONGEST_LINE = 1 << 20  # characters
LAYOUT = 2  # of what the cache keeps of a text; raise it whenever that changes
PARTS = ("train", "validation", "test")

Piece = str | bytes


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

    def pieces(self) -> Iterator[Piece]:
        """Read it from the beginning."""
        return _pieces(self.sources, self.config)

    def parts(self, val_frac: float, test_frac: float) -> list[Iterator[Piece]]:
        """Return training, validation and test part, to be read in this order.

        The last ``test_frac`` is for testing, ``val_frac`` before that for validation.
        """
        borders = [int((1 - share) * self.length) for share in (val_frac + test_frac, test_frac)]
        return _cut(self.pieces(), borders)


@dataclass(frozen=True)
class Corpus:
    """A tokenised corpus.

    Attributes:
        train: ids of the training part (N).
        validation: ids of the part kept for validation; may be empty.
        validation_characters: characters of that part, for bits per character.
        unknown_rate: probability with which training hides a character (0 if none is unknown).
        test: ids of the part after that, which nothing is chosen by; mostly empty.
        test_characters: characters of that part.
        notes: what a user should know about how it is kept, a sentence each.
        validation_bytes: the validation part's size in UTF-8; 0 where it is not known.
    """

    tokenizer: Tokenizer
    train: Ids
    validation: Ids
    validation_characters: int
    unknown_rate: float
    test: Ids = field(default_factory=lambda: np.zeros(0, np.uint8))
    test_characters: int = 0
    notes: tuple[str, ...] = ()
    validation_bytes: int = 0

    @property
    def characters_per_token(self) -> float:
        """Characters that a token stands for, on average over the validation part."""
        return self.validation_characters / len(self.validation) if len(self.validation) else 1.0

    def limited(self, count: int) -> Corpus:
        """Return the corpus with so many tokens at most of validation and test part each."""
        validation, test = self.validation[:count], self.test[:count]
        shares = [
            len(part) / max(1, len(whole))
            for part, whole in ((validation, self.validation), (test, self.test))
        ]
        return replace(
            self,
            validation=validation,
            validation_characters=round(self.validation_characters * shares[0]),
            validation_bytes=round(self.validation_bytes * shares[0]),
            test=test,
            test_characters=round(self.test_characters * shares[1]),
        )

    def for_testing(self) -> Corpus:
        """Return the corpus with the test part in place of the validation part."""
        before = np.concatenate([self.train[-WARM:], self.validation])
        return replace(
            self,
            train=before,
            validation=self.test,
            validation_characters=self.test_characters,
            validation_bytes=0,
        )

    @property
    def context(self) -> Ids:
        """The last ids before the validation part."""
        return self.train[-WARM:]


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
    sources, notes = find_sources(config.sources)
    notes += check_field(sources, config.field)
    length, unfolded, digest = 0, 0, hashlib.sha256()

    def counted(pieces: Iterator[str]) -> Iterator[str]:
        nonlocal unfolded
        for piece in pieces:
            unfolded += len(piece)
            yield piece

    pieces = _pieces(sources, replace(config, newlines="keep"))
    if config.newlines == "fold" and config.tokenizer != "byte":
        pieces = folded(counted(pieces))
    for piece in pieces:
        length += len(piece)
        digest.update(piece if isinstance(piece, bytes) else to_utf8(piece))
    if unfolded > length:
        count = unfolded - length
        notes.append(f"{count:,} CRLF line ends read as LF (--newlines keep leaves them)")
    if length < (SMALLEST if least is None else least):
        more = f"{SMALLEST} are needed, and some thousands to learn a voice"
        raise CorpusError(
            f"the corpus has {length} characters; at least {more if least is None else least}"
        )
    return Text(tuple(sources), config, length, digest.hexdigest(), tuple(notes))


def _pieces(sources: Iterable[Source], config: ReadConfig) -> Iterator[Any]:
    if config.tokenizer == "byte":
        return byte_pieces(list(sources), config.separator)
    return text_pieces(list(sources), config)


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


def tokenize(text: Text, val_frac: float, test_frac: float = 0.0) -> Corpus:
    """Split a text, learn the tokenizer from the training part, and encode all parts."""
    train, *_ = text.parts(val_frac, test_frac)
    tokenizer = build_tokenizer(text.config.tokenizer, train, text.config.vocab_size)
    return encode_corpus(text, tokenizer, val_frac, test_frac)


def encode_corpus(
    text: Text, tokenizer: Tokenizer, val_frac: float, test_frac: float = 0.0
) -> Corpus:
    """Split a text and encode all parts with a tokenizer that exists already; once, then cached."""
    parts = text.sha256, tokenizer.to_json(), val_frac, test_frac, LAYOUT
    key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    dtype = np.min_scalar_type(tokenizer.vocab_size - 1)

    def encode() -> Iterator[tuple[bytes, dict[str, Any]]]:
        for name, part in zip(PARTS, text.parts(val_frac, test_frac), strict=True):
            yield from _encoded(name, part, tokenizer, dtype)

    ids, facts = cached_ids(key, dtype, encode)
    ends = np.cumsum([facts.get(f"{name}_tokens", 0) for name in PARTS])
    train, validation, test = np.split(ids[: ends[-1]], ends[:-1])
    return Corpus(
        tokenizer=tokenizer,
        train=train,
        validation=validation,
        validation_characters=facts.get("validation_characters", 0),
        unknown_rate=0.0 if tokenizer.unknown_id is None else facts.get("unknown_rate", 0.0),
        test=test,
        test_characters=facts.get("test_characters", 0),
        validation_bytes=facts.get("validation_bytes", 0),
        notes=(f"{facts['not_kept']} (the ids stay in memory)",) if "not_kept" in facts else (),
    )


def _encoded(
    name: str, part: Iterator[Piece], tokenizer: Tokenizer, dtype: np.dtype[Any]
) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Yield the ids of a part piece by piece, and with each what is known so far."""
    tokens, characters, octets = 0, 0, 0
    counts = np.zeros(tokenizer.vocab_size, np.int64)  # of ids
    whole = part if tokenizer.kind in ("char", "byte") else _lines(part)
    for piece in whole:
        ids = _encode(tokenizer, piece).astype(dtype)
        tokens, characters = tokens + len(ids), characters + count_characters(piece)
        octets += len(piece if isinstance(piece, bytes) else to_utf8(piece))
        facts: dict[str, Any] = {
            f"{name}_tokens": tokens,
            f"{name}_characters": characters,
            f"{name}_bytes": octets,
        }
        if name == "train" and tokenizer.unknown_id is not None:
            counts += np.bincount(ids, minlength=len(counts))
            facts["unknown_rate"] = _unknown_rate(counts)
        yield ids.tobytes(), facts


def _lines(pieces: Iterable[Piece]) -> Iterator[str]:
    """Cut pieces anew behind a newline, which no token crosses, unless a line is very long."""
    rest = ""
    for piece in pieces:
        rest += str(piece)
        end = rest.rfind("\n") + 1 or (len(rest) if len(rest) > LONGEST_LINE else 0)
        if end:
            yield rest[:end]
            rest = rest[end:]
    if rest:
        yield rest


def count_characters(content: Piece) -> int:
    """Return the number of characters; in bytes, of those that begin one in UTF-8."""
    if isinstance(content, str):
        return len(content)
    return int(np.count_nonzero((np.frombuffer(content, np.uint8) & 0xC0) != 0x80))


def _encode(tokenizer: Tokenizer, content: Piece) -> Ids:
    if isinstance(content, bytes):
        assert isinstance(tokenizer, ByteTokenizer)
        return tokenizer.encode_bytes(content)
    return tokenizer.encode(content)


def _unknown_rate(counts: NDArray[np.int64]) -> float:
    """Return how often a character may be expected that training never saw.

    Good and Turing's estimate: the share of characters seen exactly once; kept between
    1 in 5,000, so that the unknown id is learned at all, and 1 in 100.
    """
    once = float(np.count_nonzero(counts == 1)) / max(1, int(counts.sum()))
    return min(max(once, 1 / 5000), 1 / 100)


# -- lanes --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Lanes:
    """The training text as B lanes read side by side, in windows of T steps.

    The text is a ring. Lane b begins at N*b/B; each step reads the next T tokens of every
    lane, so that the recurrent state carried from one window to the next always belongs to
    the text just before. After one pass a lane has reached the beginning of the next one
    and simply reads on: nothing is left out at the end, and the step number is the whole
    position.
    """

    ids: Ids
    lanes: int
    window: int
    unknown_id: int | None = None
    unknown_rate: float = 0.0
    seed: int = 0

    @property
    def steps_per_epoch(self) -> float:
        """Steps in which every token is read once."""
        return len(self.ids) / (self.lanes * self.window)

    def batch(self, step: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return inputs (B, T) and targets (B, T), the inputs one token on."""
        count = len(self.ids)
        starts = np.arange(self.lanes) * count // self.lanes + step * self.window  # (B,)
        places = (starts[:, None] + np.arange(self.window + 1)) % count  # (B, T + 1)
        tokens = self.ids[places].astype(np.int64)
        if self.unknown_id is not None and self.unknown_rate:
            chance = np.random.default_rng([self.seed, step]).random(tokens.shape)
            tokens[chance < self.unknown_rate] = self.unknown_id
        return tokens[:, :-1], tokens[:, 1:]


def fit_lanes(count: int, lanes: int, window: int) -> tuple[int, int]:
    """Shrink lanes, then the window, until a text of ``count`` tokens fills them."""
    lanes = max(1, min(lanes, count // (2 * window)))
    return lanes, max(1, min(window, count - 1))
