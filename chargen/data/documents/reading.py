"""Documents among the sources of a corpus become texts, once, in a temporary file."""

from __future__ import annotations

import atexit
import os
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import IO, BinaryIO, cast

from chargen.config import ReadConfig
from chargen.data.decoding import decoded, unicode_codec
from chargen.data.documents import kinds
from chargen.data.documents.books import chapters
from chargen.data.documents.chats import telegram_messages, whatsapp_messages, zipped_messages
from chargen.data.documents.kinds import Kind
from chargen.data.documents.mails import mail_text, mailbox_messages
from chargen.data.documents.markup import page_paragraphs
from chargen.data.documents.office import odt_paragraphs, word_paragraphs
from chargen.data.documents.pdf import has_library, pdf_pages
from chargen.data.documents.richtext import rtf_paragraphs
from chargen.data.documents.words import DocumentError, cleaned, codec
from chargen.data.sources import IN_MEMORY, PIECE, Source, keeping
from chargen.errors import CorpusError

CODE = {  # extensions beside which a page of HTML is source code as well
    *(".c", ".cc", ".cpp", ".cs", ".css", ".go", ".h", ".hpp", ".java", ".js", ".jsx", ".kt"),
    *(".lua", ".php", ".pl", ".py", ".rb", ".rs", ".scss", ".sh", ".sql", ".svelte", ".swift"),
    *(".ts", ".tsx", ".vue"),
}
RECORDS = (".jsonl", ".csv")  # are never documents
SHOWN = 3  # documents that are named in a note

Units = Callable[[Source, ReadConfig], Iterator[str]]


@dataclass(frozen=True)
class Document(Source):
    """A document and its text, which stands in a temporary file.

    Attributes:
        document: what it was.
        units: how many paragraphs, messages, chapters or pages were taken.
        start: where its text begins in the file.
        size: bytes of its text.
    """

    document: Kind = kinds.WORD
    units: int = 0
    start: int = 0
    size: int = 0

    def blocks(self) -> Iterator[bytes]:
        """Yield its text in UTF-8, in blocks."""
        for at in range(self.start, self.start + self.size, PIECE):
            _store().seek(at)
            yield _store().read(min(PIECE, self.start + self.size - at))


def takes_documents(config: ReadConfig) -> bool:
    """Tell whether documents are read as their text; a byte model reads the bytes of any file."""
    return config.documents == "text" and config.tokenizer != "byte"


def texts_of(sources: list[Source], config: ReadConfig, notes: list[str]) -> list[Source]:
    """Return sources with a text in the place of each document.

    A document that cannot be read is an error where it was named, and a note where it was found
    in a folder.

    Args:
        sources: of a corpus.
        config: how they are read.
        notes: is told what was taken, and what was not.

    Raises:
        CorpusError: a document is damaged, encrypted, hostile, without text, or needs a library.
    """
    if not takes_documents(config):
        return sources
    is_code = any(source.kind in CODE for source in sources)
    texts: list[Source] = []
    left_out: list[str] = []
    pages = 0
    for source in sources:
        kind = None if source.kind in RECORDS else kinds.kind_of(source, config.encoding)
        pages += (as_code := kind is kinds.PAGE and is_code)
        if kind is None or as_code:
            texts.append(source)
            continue
        try:
            texts.append(_as_text(source, kind, config))
        except CorpusError as error:
            if not source.found:
                raise
            left_out.append(str(error))
    if not texts:
        raise CorpusError(left_out[0])
    notes += _notes([text for text in texts if isinstance(text, Document)], left_out, pages)
    return texts


def summary(sources: Iterable[Source]) -> str:
    """Return what the documents of a corpus were, and how much was taken; empty if there are none.

    Example: ``3 x Word document (420 paragraphs), 1 x mailbox (77 messages)``.
    """
    files: Counter[Kind] = Counter()
    units: Counter[Kind] = Counter()
    for source in sources:
        if isinstance(source, Document):
            files[source.document] += 1
            units[source.document] += source.units
    return ", ".join(
        f"{count:,} x {kind.name} ({_counted(units[kind], kind)})" for kind, count in files.items()
    )


def _counted(count: int, kind: Kind) -> str:
    return f"{count:,} {kind.units if count != 1 else kind.units.removesuffix('s')}"


def _notes(documents: list[Document], left_out: list[str], pages: int) -> Iterator[str]:
    if len(documents) == 1:
        (only,) = documents
        taken = _counted(only.units, only.document)
        yield f"{only.name!r} is read as {only.document.name}: {taken}"
    elif documents:
        yield f"read as their text: {summary(documents)}"
    yield from (f"left out: {words}" for words in left_out[:SHOWN])
    if len(left_out) > SHOWN:
        yield f"left out: {len(left_out) - SHOWN:,} more documents that cannot be read"
    if pages:
        yield (
            f"web pages ({pages:,}) are read as source code, as the files beside them; "
            "name the pages alone to read their text"
        )


# -- one document -------------------------------------------------------------------------


def _as_text(source: Source, kind: Kind, config: ReadConfig) -> Document:
    """Return a document with its text in the temporary file."""
    if kind.advice:
        raise CorpusError(f"corpus {source.name!r} is no text but {kind.name}: {kind.advice}")
    if kind is kinds.PDF and not has_library():
        raise CorpusError(
            f"corpus {source.name!r} is a PDF; to read it: pip install 'chargen[documents]'"
        )
    try:
        units, start, size = _kept(CONVERTERS[kind](source, config))
        if not size:
            raise DocumentError("it holds no text")
    except DocumentError as error:
        raise CorpusError(
            f"corpus {source.name!r} cannot be read as {kind.name}: {error}; save it again, "
            "without a password, or as plain text"
        ) from None
    place = kind, units, start, size
    return Document(source.name, None, source.spooled, source.found, "utf-8", *place)


def _kept(units: Iterator[str]) -> tuple[int, int, int]:
    """Keep a text; return the number of its units, where it begins, and its size."""
    store, count, size = _store(), 0, 0
    start = store.seek(0, os.SEEK_END)
    for unit in units:
        data = cleaned(unit).encode()
        count += bool(data.strip())
        size += len(data) if count else 0
        with keeping("the text of a document"):
            store.write(data if count else b"")  # blank lines before the text are left out
    return count, start, size


@cache
def _store() -> IO[bytes]:
    """Return the file of all texts of documents; it has no name and ends with the process."""
    store = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 (read until the end)
    atexit.register(store.close)
    return cast(IO[bytes], store)


def _by_file(read: Callable[[BinaryIO], Iterator[str]], kind: Kind) -> Units:
    """Make a converter of one that reads a file at any place."""

    def convert(source: Source, _: ReadConfig) -> Iterator[str]:
        with source.seekable(kind.largest) as file:
            yield from read(file)

    return convert


def _by_text(read: Callable[[Iterable[str]], Iterator[str]]) -> Units:
    """Make a converter of one that reads decoded text."""
    return lambda source, config: read(decoded(source, config.encoding))


def _page(source: Source, config: ReadConfig) -> Iterator[str]:
    with source.seekable(kinds.PAGE.largest):  # its size is checked before it is parsed
        return page_paragraphs(decoded(source, config.encoding or _page_encoding(source)))


CHARSET = re.compile(rb"""(?:charset|encoding)\s*=\s*["']?([\w-]{1,40})""", re.IGNORECASE)


def _page_encoding(source: Source) -> str | None:
    """Return the encoding that a page declares, or what browsers take it for."""
    head = next(source.blocks(), b"")[:4096]
    declared = CHARSET.search(head)
    name = codec(declared[1].decode(), "utf-8") if declared else unicode_codec([source])
    if name is None or name in ("iso8859-1", "ascii"):
        return "cp1252"
    return None if name.startswith("utf") else name  # by its byte-order mark, or UTF-8


CONVERTERS: dict[Kind, Units] = {
    kinds.PAGE: _page,
    kinds.WHATSAPP: _by_text(whatsapp_messages),
    kinds.TELEGRAM: _by_text(telegram_messages),
    **{
        kind: _by_file(read, kind)
        for kind, read in (
            (kinds.WORD, word_paragraphs),
            (kinds.ODT, odt_paragraphs),
            (kinds.EPUB, chapters),
            (kinds.WHATSAPP_ZIP, zipped_messages),
            (kinds.PDF, pdf_pages),
            (kinds.RTF, rtf_paragraphs),
            (kinds.MAILBOX, mailbox_messages),
            (kinds.MAIL, mail_text),
        )
    },
}
