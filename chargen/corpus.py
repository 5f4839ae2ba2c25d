"""From files to ids: reading texts, splitting them, and the lanes that training reads.

Legend of shapes: B lanes (batch), T steps, N tokens of the training text.
"""

from __future__ import annotations

import codecs
import hashlib
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chargen.config import ReadConfig
from chargen.errors import CorpusError
from chargen.tokenizers import Ids, Tokenizer, build_tokenizer
from chargen.tokenizers.byte import ByteTokenizer

BUILTIN = ("builtin:pydoc", "builtin:stdlib")
SMALLEST = 20  # characters, or bytes, below which there is nothing to learn
WARM = 256  # characters of context before a validation lane

BYTE_ORDER_MARKS = (  # the longer first: UTF-32's begins like UTF-16's
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
TEXT_CONTROLS = b"\t\n\f\r\x1b"


@dataclass(frozen=True)
class Text:
    """A corpus as read: one text, or bytes for the byte tokenizer.

    Attributes:
        content: the whole corpus.
        notes: what a user should know about the reading, a sentence each.
    """

    content: str | bytes
    notes: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        """Checksum of the content, by which a resumed run knows its corpus again."""
        content = self.content
        return hashlib.sha256(
            content if isinstance(content, bytes) else content.encode()
        ).hexdigest()


@dataclass(frozen=True)
class Corpus:
    """A tokenised corpus.

    Attributes:
        train: ids of the training part (N).
        validation: ids of the part kept for validation; may be empty.
        validation_characters: characters of that part, for bits per character.
        unknown_rate: probability with which training hides a character (0 if none is unknown).
    """

    tokenizer: Tokenizer
    train: Ids
    validation: Ids
    validation_characters: int
    unknown_rate: float

    @property
    def characters_per_token(self) -> float:
        """Characters that a token stands for, on average over the validation part."""
        return self.validation_characters / len(self.validation) if len(self.validation) else 1.0

    @property
    def context(self) -> Ids:
        """The last ids before the validation part."""
        return self.train[-WARM:]


# -- reading ------------------------------------------------------------------------------


def read_text(config: ReadConfig) -> Text:
    """Read the sources in their order and join them by one newline.

    Raises:
        CorpusError: a source is missing, empty, unreadable, binary or not in its encoding,
            or there is too little text to learn anything from.
    """
    notes: list[str] = []
    files = [file for name in config.sources for file in _read_source(name, notes)]
    if config.tokenizer == "byte":
        return _large_enough(Text(b"\n".join(data for _, data in files), tuple(notes)))
    content = "\n".join(_decode(path, data, config.encoding) for path, data in files)
    if config.newlines == "fold" and (count := content.count("\r\n")):
        content = content.replace("\r\n", "\n")
        notes.append(f"{count:,} CRLF line ends read as LF (--newlines keep leaves them)")
    return _large_enough(Text(content, tuple(notes)))


def _large_enough(text: Text) -> Text:
    if len(text.content) < SMALLEST:
        raise CorpusError(
            f"the corpus has {len(text.content)} characters; at least {SMALLEST} are needed, "
            "and some thousands to learn a voice"
        )
    return text


def _read_source(name: str, notes: list[str]) -> Iterator[tuple[str, bytes]]:
    """Yield the path and the bytes of each file that a source stands for."""
    path = Path(name)
    if name == "-":
        yield _not_empty("standard input", sys.stdin.buffer.read())
    elif path.is_dir():
        yield from _read_folder(path, notes)
    elif path.exists():
        yield _not_empty(name, _read_file(path))
    elif name == "builtin:pydoc":
        from pydoc_data.topics import topics

        yield name, "\n".join(topics[key] for key in sorted(topics)).encode()
    elif name == "builtin:stdlib":
        yield name, _standard_library()
    else:
        raise CorpusError(
            f"corpus {name!r} does not exist; give a file, a folder, - for standard input, "
            f"or a built-in text ({', '.join(BUILTIN)})"
        )


def _not_empty(name: str, data: bytes) -> tuple[str, bytes]:
    if not data:
        raise CorpusError(f"corpus {name!r} is empty; give a text of a few thousand characters")
    return name, data


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CorpusError(f"cannot read {str(path)!r}: {error.strerror}") from None


def _read_folder(folder: Path, notes: list[str]) -> Iterator[tuple[str, bytes]]:
    """Yield the text files below a folder in order of their names; hidden ones are skipped."""
    files = [
        path for path in sorted(folder.rglob("*")) if path.is_file() and not _hidden(path, folder)
    ]
    texts = [(str(path), data) for path in files if _is_text(data := _read_file(path))]
    if not texts:
        raise CorpusError(
            f"folder {str(folder)!r} holds no text file ({len(files)} others); "
            "name the files, or train on bytes with --tokenizer byte"
        )
    if len(texts) < len(files):
        notes.append(f"{len(files) - len(texts)} files of {str(folder)!r} skipped: no text")
    yield from texts


def _hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _is_text(data: bytes) -> bool:
    return bool(data) and not _looks_binary(data)


def _standard_library() -> bytes:
    """Return the source of Python's standard library, without its tests."""
    root = Path(sysconfig.get_path("stdlib"))
    skipped = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}
    paths = [p for p in sorted(root.rglob("*.py")) if not skipped & set(p.relative_to(root).parts)]
    texts = [data for path in paths if _decodes(data := path.read_bytes())]
    return b"\n".join(texts)


def _decodes(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _looks_binary(data: bytes) -> bool:
    """Tell whether bytes are no text: many control characters, or some and no UTF-8.

    A NUL alone does not make a text binary; 30 % of control characters do, and 2 % where
    the bytes cannot be decoded either.
    """
    if any(data.startswith(mark) for mark, _ in BYTE_ORDER_MARKS):
        return False
    head = data[:65536]
    controls = sum(head.count(byte) for byte in range(32) if byte not in TEXT_CONTROLS)
    return controls > (0.3 if _decodes(data) else 0.02) * len(head)


def _decode(name: str, data: bytes, encoding: str | None) -> str:
    if encoding is None and _looks_binary(data):
        raise CorpusError(
            f"corpus {name!r} is a binary file, not a text; "
            "train on its bytes with --tokenizer byte"
        )
    marked = next((codec for mark, codec in BYTE_ORDER_MARKS if data.startswith(mark)), "utf-8")
    codec = encoding or marked
    try:
        return data.decode(codec)
    except UnicodeDecodeError as error:
        wrong, offset = data[error.start], error.start
    raise CorpusError(
        f"corpus {name!r} is not {codec}: byte 0x{wrong:02X} at offset {offset}; name its "
        "encoding, for example --encoding latin-1, or train on its bytes with --tokenizer byte"
    )


# -- tokenising ---------------------------------------------------------------------------


def tokenize(text: Text, config: ReadConfig, val_frac: float) -> Corpus:
    """Split a text, learn the tokenizer from the training part, and encode both parts."""
    train, _ = split(text.content, val_frac)
    tokenizer = build_tokenizer(config.tokenizer, train, config.vocab_size)
    return encode_corpus(text, tokenizer, val_frac)


def encode_corpus(text: Text, tokenizer: Tokenizer, val_frac: float) -> Corpus:
    """Split a text and encode both parts with a tokenizer that exists already."""
    train, validation = split(text.content, val_frac)
    return Corpus(
        tokenizer=tokenizer,
        train=_encode(tokenizer, train),
        validation=_encode(tokenizer, validation),
        validation_characters=count_characters(validation),
        unknown_rate=0.0 if tokenizer.unknown_id is None else _unknown_rate(train),
    )


def split(content: str | bytes, val_frac: float) -> tuple[str | bytes, str | bytes]:
    """Cut a text in two: its last ``val_frac`` is for validation."""
    border = int((1 - val_frac) * len(content))
    return content[:border], content[border:]


def count_characters(content: str | bytes) -> int:
    """Return the number of characters; in bytes, of those that begin one in UTF-8."""
    if isinstance(content, str):
        return len(content)
    return int(np.count_nonzero((np.frombuffer(content, np.uint8) & 0xC0) != 0x80))


def _encode(tokenizer: Tokenizer, content: str | bytes) -> Ids:
    if isinstance(content, bytes):
        assert isinstance(tokenizer, ByteTokenizer)
        return tokenizer.encode_bytes(content)
    return tokenizer.encode(content)


def _unknown_rate(train: str | bytes) -> float:
    """Return how often a character may be expected that training never saw.

    Good and Turing's estimate: the share of characters seen exactly once; kept between
    1 in 5,000, so that the unknown id is learned at all, and 1 in 100.
    """
    assert isinstance(train, str)
    _, counts = np.unique(np.frombuffer(train.encode("utf-32-le"), "<u4"), return_counts=True)
    once = float(np.count_nonzero(counts == 1)) / len(train)
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
    shuffle: int = 0

    @property
    def steps_per_epoch(self) -> float:
        """Steps in which every token is read once."""
        return len(self.ids) / (self.lanes * self.window)

    def batch(self, step: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return inputs (B, T) and targets (B, T), the inputs one token on."""
        count = len(self.ids)
        starts = np.arange(self.lanes) * count // self.lanes + step * self.window  # (B,)
        if self.shuffle:
            each = count // self.lanes // self.window // self.shuffle * self.window
            per_epoch = self.shuffle * each // self.window
            epoch, rest = divmod(step, per_epoch)
            order = np.random.default_rng([self.seed, epoch]).permutation(self.lanes * self.shuffle)
            piece, within = divmod(rest * self.window, each)
            starts = order[np.arange(self.lanes) * self.shuffle + piece] * each + within
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
