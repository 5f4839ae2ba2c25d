"""Packages of XML in a zip archive, read in pieces, with limits on what they may unpack to."""

from __future__ import annotations

import contextlib
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO
from xml.parsers import expat

from chargen.data.documents.words import DocumentError, check_count, check_depth, check_length

STEP = 1 << 16  # bytes that are parsed at once
DIRECTORY = 1 << 22  # bytes of the list of members
UNPACKED = 1 << 28  # bytes of all members that are read
RATIO = 100  # of unpacked to packed; XML has 5 to 30, and a bomb has 1,000
SMALL = 1 << 22  # bytes of a member up to which its ratio does not matter
MOST_ELEMENTS = 10_000_000  # which take 15 s
END = b"PK\5\6"  # the record at the end of the archive


class Package:
    """A zip archive and how much of it may still be unpacked."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive, self._left = archive, UNPACKED
        self.names = set(archive.namelist())

    def chunks(self, name: str) -> Iterator[bytes]:
        """Read a member in pieces.

        Raises:
            DocumentError: it is missing, damaged, encrypted or too large.
        """
        if name not in self.names:
            raise DocumentError(f"it has no part {name!r}")
        info = self._archive.getinfo(name)
        if info.flag_bits & 1:
            raise DocumentError("it is encrypted")
        bomb = info.file_size > max(SMALL, RATIO * info.compress_size)
        if bomb or info.file_size > self._left:
            raise DocumentError(
                f"its part {name!r} unpacks to {info.file_size:,} bytes; allowed: "
                f"{UNPACKED:,} in all, and {RATIO} times its packed size"
            )
        self._left -= info.file_size
        try:
            with self._archive.open(info) as file:
                yield from iter(lambda: file.read(STEP), b"")
        except (*DAMAGE, NotImplementedError, RuntimeError) as error:
            raise DocumentError(f"its part {name!r} is damaged: {error}") from None

    def whole(self, name: str) -> bytes:
        """Return a small member.

        Raises:
            DocumentError: as ``chunks``, or it is not small.
        """
        data = bytearray()
        for chunk in self.chunks(name):
            data += chunk
            check_length(len(data), f"its part {name!r}")
        return bytes(data)


DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, struct.error, ValueError, OSError)


@contextlib.contextmanager
def opened_package(file: BinaryIO) -> Iterator[Package]:
    """Open a zip archive.

    Raises:
        DocumentError: it is damaged, or has more members than a document.
    """
    _check_directory(file)
    try:
        archive = zipfile.ZipFile(file)
    except (*DAMAGE, NotImplementedError) as error:
        raise DocumentError(f"its zip archive is damaged: {error}") from None
    with archive:
        yield Package(archive)


def _check_directory(file: BinaryIO) -> None:
    """Refuse a list of members that would fill the memory before one of them is read."""
    end = file.seek(0, 2)
    file.seek(max(0, end - 66_000))  # behind the record is a comment of up to 65,535 bytes
    tail = file.read()
    at = tail.rfind(END)
    record = tail[at : at + 16]
    if at < 0 or len(record) < 16:
        raise DocumentError("its zip archive is damaged: its end is missing")
    size = int.from_bytes(record[12:16], "little")
    if size > DIRECTORY:
        raise DocumentError(f"its list of members has {size:,} bytes; allowed: {DIRECTORY:,}")
    file.seek(0)


# -- XML ----------------------------------------------------------------------------------

Start = Callable[[str, dict[str, str]], None]


class Elements:
    """What a reader of XML does at each element; names are ``namespace local-name``."""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """Begin an element."""

    def end(self, name: str) -> None:
        """End an element."""

    def data(self, text: str) -> None:
        """Take characters."""


def parse_xml(chunks: Iterable[bytes], elements: Elements) -> Iterator[None]:
    """Parse XML; what is yielded says that a piece of it has been parsed.

    Raises:
        DocumentError: it is malformed, nested deeply, too large, or declares entities.
    """
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    depth, count, read = 0, 0, 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth, count
        depth, count = depth + 1, count + 1
        check_depth(depth)
        check_count(count, MOST_ELEMENTS, "elements")
        elements.start(name, attributes)

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        elements.end(name)

    def refuse(*_: object) -> None:
        raise DocumentError("it declares entities, which no document does")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = elements.data
    parser.EntityDeclHandler = refuse
    try:
        for chunk in chunks:
            parser.Parse(chunk, False)
            read += len(chunk)
            check_length(read - parser.CurrentByteIndex, "a tag")
            yield
        parser.Parse(b"", True)
        yield
    except expat.ExpatError as error:
        raise DocumentError(f"its XML is malformed: {error}") from None
