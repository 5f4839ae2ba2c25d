"""Sources of a corpus: files, folders, patterns, standard input, built-in and published texts.

They become a list of files. The files are decompressed, decoded, extracted from records and joined,
one megabyte at a time, so that memory does not grow with the corpus.
"""

from __future__ import annotations

import atexit
import bz2
import codecs
import contextlib
import csv
import glob
import gzip
import io
import json
import lzma
import shutil
import sys
import sysconfig
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from chargen.config import ReadConfig
from chargen.data.catalogue import catalogue, fetch
from chargen.errors import CorpusError

BUILTIN = ("builtin:pydoc", "builtin:stdlib")
PIECE = 1 << 20  # bytes per read
IN_MEMORY = 1 << 26  # bytes of standard input in memory; the rest is spooled to disk
OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
LONGEST_FIELD = 1 << 30  # characters
RECORDS = (".jsonl", ".csv")

BYTE_ORDER_MARKS = (  # longer ones first: that of UTF-32 begins with that of UTF-16
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
TEXT_CONTROLS = b"\t\n\f\r\x1b"


@dataclass(frozen=True)
class Source:
    """One file of a corpus, or a text in memory.

    Attributes:
        name: path of the file, or the name that the user gave.
        data: the bytes of a text that is not in a file.
    """

    name: str
    data: BinaryIO | None = None

    @property
    def kind(self) -> str:
        """The file extension, without that of a compression format."""
        path = Path(self.name)
        return (path.with_suffix("") if path.suffix in OPENERS else path).suffix

    @contextlib.contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Open it for reading from the beginning, decompressed."""
        if self.data is not None:
            self.data.seek(0)
            yield self.data
            return
        opener = OPENERS.get(Path(self.name).suffix, open)
        with opener(self.name, "rb") as file:
            yield file

    def blocks(self) -> Iterator[bytes]:
        """Yield its bytes in blocks.

        Raises:
            CorpusError: it cannot be read, or its compression does not match its extension.
        """
        try:
            with self.open() as file:
                while block := file.read(PIECE):
                    yield block
        except (EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile) as error:
            raise self._damaged(error) from None
        except OSError as error:
            if error.errno is None:  # raised by bz2 on damaged data
                raise self._damaged(error) from None
            raise CorpusError(f"cannot read {self.name!r}: {error.strerror}") from None

    def _damaged(self, error: Exception) -> CorpusError:
        return CorpusError(f"{self.name!r} is damaged or not {Path(self.name).suffix[1:]}: {error}")


# -- which files --------------------------------------------------------------------------


def find_sources(names: Iterable[str]) -> tuple[list[Source], list[str]]:
    """Return the files for a list of names, in order, and notes for the user.

    Raises:
        CorpusError: a name matches nothing, or an empty file.
    """
    notes: list[str] = []
    return [source for name in names for source in _find(name, notes)], notes


def check_field(sources: list[Source], field: str | None) -> list[str]:
    """Return notes for the user about records that are read without a field.

    Raises:
        CorpusError: a field is given and no source has fields.
    """
    records = [source.name for source in sources if source.kind in RECORDS]
    if field is not None and not records:
        raise CorpusError(f"field is {field!r}, but only .jsonl and .csv files have fields")
    if field is None and records:
        return [f"{records[0]!r} is read as plain text; --field NAME extracts a field"]
    return []


def _find(name: str, notes: list[str]) -> Iterator[Source]:
    path = Path(name)
    if name == "-":
        spool = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 (read several times)
        atexit.register(spool.close)
        shutil.copyfileobj(sys.stdin.buffer, spool)
        yield _not_empty(Source("standard input", cast(BinaryIO, spool)))
    elif path.is_dir():
        yield from _in_folder(path, notes)
    elif path.exists():
        yield _not_empty(Source(name))
    elif name == "builtin:pydoc":
        from pydoc_data.topics import topics

        yield Source(name, io.BytesIO("\n".join(topics[key] for key in sorted(topics)).encode()))
    elif name == "builtin:stdlib":
        yield Source(name, io.BytesIO(_standard_library()))
    elif name in catalogue():
        yield Source(str(fetch(catalogue()[name], lambda _: None)))
    elif found := sorted(glob.glob(name, recursive=True)):  # noqa: PTH207 (Path.glob takes no absolute patterns)
        yield from (_not_empty(Source(file)) for file in found if Path(file).is_file())
    else:
        known = ", ".join([*BUILTIN, *catalogue()])
        raise CorpusError(
            f"corpus {name!r} does not exist; give a file, a folder, a pattern, - for standard "
            f"input, or a known text ({known})"
        )


def _not_empty(source: Source) -> Source:
    if not next(source.blocks(), b""):
        raise CorpusError(
            f"corpus {source.name!r} is empty; give a text of a few thousand characters"
        )
    return source


def _in_folder(folder: Path, notes: list[str]) -> Iterator[Source]:
    """Yield the text files below a folder in order of their names; hidden files are skipped."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    files = [Source(str(path)) for path in paths if not _hidden(path, folder)]
    texts = [source for source in files if _is_text(next(source.blocks(), b""))]
    if not texts:
        raise CorpusError(
            f"folder {str(folder)!r} holds no text file ({len(files)} others); "
            "name the files, or train on bytes with --tokenizer byte"
        )
    if len(texts) < len(files):
        skipped = len(files) - len(texts)
        notes.append(f"{skipped} of {len(files)} files of {str(folder)!r} skipped: no text")
    yield from texts


def _hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _is_text(head: bytes) -> bool:
    return bool(head) and not _looks_binary(head)


def _standard_library() -> bytes:
    """Return the source of Python's standard library, without its tests."""
    root = Path(sysconfig.get_path("stdlib"))
    skipped = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}
    paths = [p for p in sorted(root.rglob("*.py")) if not skipped & set(p.relative_to(root).parts)]
    return b"\n".join(data for path in paths if _decodes(data := path.read_bytes()))


def _decodes(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return error.start > len(data) - 4  # an incomplete character at the end of a block
    return True


def _looks_binary(head: bytes) -> bool:
    """Tell whether bytes are binary: many control characters, or some and invalid UTF-8.

    A single NUL does not make a text binary. More than 30 % of control characters do, or more than
    2 % if the bytes are not valid UTF-8 either.
    """
    if any(head.startswith(bom) for bom, _ in BYTE_ORDER_MARKS):
        return False
    head = head[:65536]
    controls = sum(head.count(byte) for byte in range(32) if byte not in TEXT_CONTROLS)
    return controls > (0.3 if _decodes(head) else 0.02) * len(head)


# -- from bytes to text -------------------------------------------------------------------


def byte_pieces(sources: list[Source], separator: str) -> Iterator[bytes]:
    """Yield the bytes of all sources, joined by the separator."""
    for number, source in enumerate(sources):
        if number:
            yield separator.encode()
        yield from source.blocks()


def text_pieces(sources: list[Source], config: ReadConfig) -> Iterator[str]:
    """Yield the text of all sources, read with the settings of the config.

    Raises:
        CorpusError: a source is binary, not in its encoding, or its records lack the field.
    """
    pieces = _joined((_source_text(source, config) for source in sources), config.separator)
    return folded(pieces) if config.newlines == "fold" else pieces


def _joined(parts: Iterable[Iterator[str]], separator: str) -> Iterator[str]:
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


def _source_text(source: Source, config: ReadConfig) -> Iterator[str]:
    decoded = _decoded(source, config.encoding)
    if source.kind not in RECORDS or config.field is None:
        return decoded
    lines = _lines(decoded)
    records = _json_fields if source.kind == ".jsonl" else _csv_fields
    return _joined(([text] for text in records(source, lines, config.field)), config.separator)  # type: ignore[misc]


def _decoded(source: Source, encoding: str | None) -> Iterator[str]:
    """Decode a source block by block; an error names the wrong byte and its offset."""
    decoder, read = None, 0
    for block in source.blocks():
        if decoder is None:
            if encoding is None and _looks_binary(block):
                raise CorpusError(
                    f"corpus {source.name!r} is a binary file, not a text; "
                    "train on its bytes with --tokenizer byte"
                )
            codec = encoding or _codec_of(block)
            decoder = codecs.getincrementaldecoder(codec)()
        read += len(block)
        yield _decode(decoder, block, False, source, codec, read)
    if decoder is not None:
        yield _decode(decoder, b"", True, source, codec, read)


def _codec_of(head: bytes) -> str:
    """Return the codec of the byte-order mark, or UTF-8."""
    return next((codec for bom, codec in BYTE_ORDER_MARKS if head.startswith(bom)), "utf-8")


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
    except UnicodeDecodeError as error:
        wrong, offset = error.object[error.start], read - len(error.object) + error.start
    raise CorpusError(
        f"corpus {source.name!r} is not {codec}: byte 0x{wrong:02X} at offset {offset}; name its "
        "encoding, for example --encoding latin-1, or train on its bytes with --tokenizer byte"
    )


# -- records ------------------------------------------------------------------------------


def _lines(pieces: Iterable[str]) -> Iterator[str]:
    """Yield the lines of a text with their line ends."""
    rest = ""
    for piece in pieces:
        *whole, rest = (rest + piece).split("\n")
        yield from (f"{line}\n" for line in whole)
    if rest:
        yield rest


def _json_fields(source: Source, lines: Iterable[str], field: str) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield str(json.loads(line)[field])
            except (ValueError, KeyError, TypeError, RecursionError):
                raise CorpusError(
                    f"{source.name!r} line {number} is not a JSON object with a field {field!r}; "
                    "give another --field"
                ) from None


def _csv_fields(source: Source, lines: Iterable[str], field: str) -> Iterator[str]:
    csv.field_size_limit(LONGEST_FIELD)
    reader = csv.DictReader(lines)
    try:
        if field not in (reader.fieldnames or ()):
            names = ", ".join(reader.fieldnames or ())
            raise CorpusError(f"{source.name!r} has no column {field!r}; allowed: {names}")
        yield from (row[field] or "" for row in reader)
    except csv.Error as error:
        line = reader.line_num
        raise CorpusError(f"{source.name!r} is not CSV in line {line}: {error}") from None
