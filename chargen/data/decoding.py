"""Decoding of a corpus: sources as one stream of text, or of bytes for the byte tokenizer.

The files are decompressed, decoded, extracted from records and joined, one megabyte at a time, so
that memory does not grow with the corpus.
"""

from __future__ import annotations

import codecs
import io
import sys
from collections.abc import Iterable, Iterator

from chargen.config import ReadConfig, require
from chargen.data.records import KINDS, Note, field_rows
from chargen.data.sources import BYTE_ORDER_MARKS, Source, looks_binary
from chargen.errors import CorpusError
from chargen.tokenizers.base import to_utf8
from chargen.tokenizers.byte import ESCAPE, bytes_of, replaced, text_of

STREAM_BLOCK = 1 << 16  # bytes of a stream read at once, at most

Piece = str | bytes


def _say_nothing(note: str) -> None:
    """Take a note for a user who has read it already."""


def byte_pieces(
    sources: list[Source], config: ReadConfig, note: Note = _say_nothing
) -> Iterator[bytes]:
    """Yield the bytes of all sources, joined by the separator; line ends are kept.

    A source is taken as it is. If an encoding is given, or a field and the source has records, its
    bytes are those of its text in UTF-8.

    Args:
        sources: to be joined.
        config: the settings.
        note: is told what the user should know.

    Raises:
        CorpusError: a source cannot be read, or its text cannot be decoded.
    """
    for number, source in enumerate(sources):
        if number:
            yield to_utf8(config.separator)
        if config.encoding is None and not _has_field(source, config):
            yield from source.blocks()
        else:
            yield from map(to_utf8, _source_text(source, config, note))


def text_pieces(
    sources: list[Source], config: ReadConfig, note: Note = _say_nothing
) -> Iterator[str]:
    """Yield the text of all sources, joined by the separator.

    Args:
        sources: to be joined.
        config: the settings.
        note: is told what the user should know.

    Raises:
        CorpusError: a source is binary, not in its encoding, or its records lack the field.
    """
    texts = (_source_text(source, config, note) for source in sources)
    pieces = _joined(texts, config.separator)
    return folded(pieces) if config.newlines == "fold" else pieces


def _joined(parts: Iterable[Iterable[str]], separator: str) -> Iterator[str]:
    for number, part in enumerate(parts):
        if number:
            yield separator
        yield from part


def folded(pieces: Iterable[str]) -> Iterator[str]:
    """Turn CRLF into LF, also across the boundary of two pieces."""
    held = ""
    for piece in pieces:
        text = held + piece
        held = "\r" if text.endswith("\r") else ""
        yield text.removesuffix(held).replace("\r\n", "\n")
    yield held


class LineEnds:
    """Folds the line ends of a text and counts what it meets."""

    def __init__(self) -> None:
        self._crlf, self._lone = 0, 0

    def folded(self, pieces: Iterable[str]) -> Iterator[str]:
        """Turn CRLF into LF."""
        for piece in folded(self._counted(pieces)):
            self._crlf -= len(piece)
            self._lone += piece.count("\r")
            yield piece

    def _counted(self, pieces: Iterable[str]) -> Iterator[str]:
        for piece in pieces:
            self._crlf += len(piece)
            yield piece

    def notes(self, why: str) -> list[str]:
        """Return what a user should know of them, once all is read."""
        notes = []
        if self._crlf:
            notes.append(f"{self._crlf:,} CRLF line ends read as LF ({why})")
        if self._lone:
            notes.append(
                f"{self._lone:,} CR without LF kept as characters; if they end lines, convert "
                "them first: tr '\\r' '\\n'"
            )
        return notes


def to_bytes(piece: Piece) -> bytes:
    """Return a piece of a corpus in UTF-8, or as it is."""
    return piece if isinstance(piece, bytes) else to_utf8(piece)


def as_read(text: str, own: ReadConfig, name: str = "text") -> str:
    """Return a text in memory as a file of it in UTF-8 would be read.

    Args:
        text: a prompt, say, or a text to score.
        own: how the corpus of the model was read.
        name: of the text in an error.

    Raises:
        ConfigError: it is no text.
        TokenizerError: a byte model is given a lone surrogate that stands for no byte.
    """
    require(isinstance(text, str), name, text, "a text")
    if own.tokenizer == "byte":
        return text_of(bytes_of(text))
    text = text.removeprefix("\ufeff")
    return "".join(folded([text])) if own.newlines == "fold" else text


def stream_lines(stream: io.BufferedReader, own: ReadConfig) -> Iterator[str]:
    """Yield the lines of a stream as they come, without their line ends; see ``stream_blocks``."""
    for lines in stream_blocks(stream, own):
        yield from (line.removesuffix("\n") for line in lines)


def stream_blocks(
    stream: io.BufferedReader,
    own: ReadConfig,
    encoding: str | None = None,
    longest: int = sys.maxsize,
) -> Iterator[list[str]]:
    """Yield the lines of a stream as they come, read as ``read_like`` reads a file.

    Lines that came together are in one list, each with its newline. A byte that cannot be decoded
    is a lone surrogate, so that it is an error of its line only.

    Args:
        stream: what is read.
        own: how the corpus of the model was read.
        encoding: of the stream, where the user named it.
        longest: characters after which a line is cut; memory does not grow with the stream.
    """
    by_bytes = own.tokenizer == "byte" and own.encoding is encoding is None
    codec = "utf-8" if by_bytes else _codec_of(stream.peek(4), encoding)
    errors = ESCAPE if codec.startswith("utf-8") else "replace"
    data = iter(lambda: stream.read1(STREAM_BLOCK), b"")
    for lines in line_blocks(codecs.iterdecode(data, codec, errors), longest):
        yield [_as_line(line, own) for line in lines]


def line_blocks(pieces: Iterable[str], longest: int = sys.maxsize) -> Iterator[list[str]]:
    """Yield the lines that each piece of a text completes, with their newlines.

    Args:
        pieces: of the text.
        longest: characters after which a line is cut.
    """
    held = list[str]()  # parts of a line that has not ended
    for piece in pieces:
        *ends, rest = piece.split("\n")
        lines = [f"{line}\n" for line in ends]
        if lines:
            lines[0], held = "".join([*held, lines[0]]), []
        held.append(rest)
        if sum(map(len, held)) >= longest:
            lines, held = [*lines, "".join(held)], []
        if lines:
            yield lines
    if any(held):
        yield ["".join(held)]


def _as_line(line: str, own: ReadConfig) -> str:
    """Return a line of a stream with its line end folded, if it was so in the corpus."""
    if line.endswith("\r\n") and own.newlines == "fold" and own.tokenizer != "byte":
        line = f"{line[:-2]}\n"
    if own.encoding and not line.isascii() and replaced(line).encode() != bytes_of(line):
        line = bytes_of(line).decode(own.encoding, "replace")
    return line


def unicode_codec(sources: list[Source]) -> str | None:
    """Return the codec of a byte-order mark, or UTF-8, if all sources are that; else None."""
    try:
        for source in sources:
            for _ in decoded(source, source.encoding):
                pass
    except CorpusError:
        return None
    return _codec_of(next(sources[0].blocks(), b""), None)


def _has_field(source: Source, config: ReadConfig) -> bool:
    return config.field is not None and source.kind in KINDS


def _source_text(source: Source, config: ReadConfig, note: Note) -> Iterator[str]:
    pieces = decoded(source, source.encoding or config.encoding)
    if config.field is None or source.kind not in KINDS:
        return pieces
    rows = field_rows(source, pieces, config.field, None, note)
    return _joined(([text] for text, _ in rows), config.separator)


# -- from bytes to text -------------------------------------------------------------------


def decoded(source: Source, encoding: str | None) -> Iterator[str]:
    """Decode a source block by block.

    Raises:
        CorpusError: it is binary, or not in its encoding: names the wrong byte and its offset.
    """
    decoder, read = None, 0
    for block in source.blocks():
        if decoder is None:
            if encoding is None and looks_binary(block):
                raise CorpusError(
                    f"corpus {source.name!r} is a binary file, not a text; "
                    "train on its bytes with --tokenizer byte"
                )
            codec = _codec_of(block, encoding)
            decoder = codecs.getincrementaldecoder(codec)()
        read += len(block)
        yield _decode(decoder, block, False, source, codec, read)
    if decoder is not None:
        yield _decode(decoder, b"", True, source, codec, read)


def _codec_of(head: bytes, encoding: str | None) -> str:
    """Return the codec that is named, or that of the byte-order mark, or UTF-8.

    A mark is never text: where both are given, the codec of the mark leaves it out.
    """
    by_mark = next((codec for bom, codec in BYTE_ORDER_MARKS if head.startswith(bom)), None)
    if encoding is None or by_mark is None:
        return encoding or by_mark or "utf-8"
    family = by_mark.removesuffix("-sig")
    return by_mark if codecs.lookup(encoding).name.startswith(family) else encoding


def _decode(
    decoder: codecs.IncrementalDecoder,
    block: bytes,
    final: bool,
    source: Source,
    codec: str,
    read: int,
) -> str:
    try:
        return decoder.decode(block, final)
    except UnicodeError as error:
        why = _why(error, codec, read)
    as_bytes = "" if source.kind in KINDS else ", or train on its bytes with --tokenizer byte"
    raise CorpusError(
        f"corpus {source.name!r} is not {codec}: {why}; name its encoding, for example "
        f"--encoding latin-1{as_bytes}"
    )


def _why(error: UnicodeError, codec: str, read: int) -> str:
    """Return what is wrong with bytes; a missing byte-order mark is told alike by all Pythons."""
    if "BOM" in str(error):
        return f"it does not start with BOM ({codec}-le and {codec}-be need none)"
    if not isinstance(error, UnicodeDecodeError) or error.start >= len(error.object):
        return str(error)  # of what is missing at the end, no byte is wrong
    wrong, offset = error.object[error.start], read - len(error.object) + error.start
    return f"byte 0x{wrong:02X} at offset {offset}"
