"""Word processors: the paragraphs of .docx and .odt, one a line.

Deleted text of tracked changes, comments, notes, headers and footers are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import BinaryIO

from chargen.data.documents.packages import Elements, Package, opened_package, parse_xml
from chargen.data.documents.words import DocumentError, check_length

CONTENT_TYPES = "[Content_Types].xml"
WORD_TYPE = re.compile(r"(wordprocessingml|ms-word)\S*main\+xml")
MANIFEST = "META-INF/manifest.xml"
MOST_SPACES = 100  # that one element of ODF may stand for


def word_paragraphs(file: BinaryIO) -> Iterator[str]:
    """Yield the paragraphs of a .docx file.

    Raises:
        DocumentError: it is damaged, encrypted or hostile.
    """
    with opened_package(file) as package:
        yield from _paragraphs(package.chunks(main_part(package)), _Word())


def odt_paragraphs(file: BinaryIO) -> Iterator[str]:
    """Yield the paragraphs of an .odt file.

    Raises:
        DocumentError: it is damaged, encrypted or hostile.
    """
    with opened_package(file) as package:
        if MANIFEST in package.names and b"encryption-data" in package.whole(MANIFEST):
            raise DocumentError("it is encrypted")
        yield from _paragraphs(package.chunks("content.xml"), _OpenDocument())


def main_part(package: Package) -> str:
    """Return the name of the part of a .docx file that holds its text; ``""`` if none does.

    Raises:
        DocumentError: the list of parts is damaged.
    """
    types = _Types()
    for _ in parse_xml(package.chunks(CONTENT_TYPES), types):
        pass
    return types.main


def _paragraphs(chunks: Iterable[bytes], text: _Paragraphs) -> Iterator[str]:
    for _ in parse_xml(chunks, text):
        yield from text.taken()


class _Types(Elements):
    """Finds the main part in the list of content types."""

    main = ""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if WORD_TYPE.search(attributes.get("ContentType", "")):
            self.main = attributes.get("PartName", "word/document.xml").lstrip("/")


class _Paragraphs(Elements):
    """Collects paragraphs; what stands for a character and what is skipped differs by format."""

    space = ""  # part of the namespace of the elements
    paragraphs: frozenset[str] = frozenset()
    skipped: frozenset[str] = frozenset()  # elements that are no text
    stand_for: Mapping[str, str] = MappingProxyType({})  # elements that are characters

    def __init__(self) -> None:
        self._done: list[str] = []
        self._parts: list[str] = []
        self._length = 0
        self._skipping = 0  # depth inside an element that is skipped

    def taken(self) -> list[str]:
        """Return the paragraphs that have come since."""
        done, self._done = self._done, []
        return done

    def start(self, name: str, attributes: dict[str, str]) -> None:
        space, _, local = name.rpartition(" ")
        if self._skipping or local in self.skipped:
            self._skipping += 1
        elif self.space in space:
            if local in self.paragraphs and self._parts:  # a text box inside a paragraph
                self._finish()
            self.element(local, attributes)

    def end(self, name: str) -> None:
        space, _, local = name.rpartition(" ")
        if self._skipping:
            self._skipping -= 1
        elif self.space in space:
            self.ended(local)
            if local in self.paragraphs:
                self._finish()

    def element(self, local: str, attributes: dict[str, str]) -> None:
        """Begin an element that is not skipped."""

    def ended(self, local: str) -> None:
        """End an element that is not skipped."""

    def add(self, text: str) -> None:
        """Add characters to the paragraph."""
        self._length += len(text)
        check_length(self._length, "a paragraph")
        self._parts.append(text)

    def _finish(self) -> None:
        self._done.append("".join(self._parts) + "\n")
        self._parts, self._length = [], 0


class _Word(_Paragraphs):
    space = "wordprocessingml"
    paragraphs = frozenset({"p"})
    skipped = frozenset({"pPr", "rPr", "tblPr", "sectPr", "del", "moveFrom", "Fallback"})
    stand_for = MappingProxyType({"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"})

    def __init__(self) -> None:
        super().__init__()
        self._in_text = False

    def element(self, local: str, attributes: dict[str, str]) -> None:
        if local in self.stand_for:
            self.add(self.stand_for[local])
        self._in_text = local == "t"

    def ended(self, local: str) -> None:
        self._in_text = False

    def data(self, text: str) -> None:
        if self._in_text and not self._skipping:
            self.add(text)


class _OpenDocument(_Paragraphs):
    space = ":text:1.0"
    paragraphs = frozenset({"p", "h"})
    skipped = frozenset({"annotation", "note", "tracked-changes", "ruby-text", "title", "desc"})
    stand_for = MappingProxyType({"tab": "\t", "line-break": "\n"})

    def __init__(self) -> None:
        super().__init__()
        self._depth = 0  # of paragraphs in each other

    def element(self, local: str, attributes: dict[str, str]) -> None:
        self._depth += local in self.paragraphs
        if local == "s":
            count = next((value for name, value in attributes.items() if name.endswith(" c")), "1")
            self.add(" " * min(int(count) if count.isdecimal() else 1, MOST_SPACES))
        elif local in self.stand_for:
            self.add(self.stand_for[local])

    def ended(self, local: str) -> None:
        self._depth -= local in self.paragraphs

    def data(self, text: str) -> None:
        if self._depth and not self._skipping:
            self.add(re.sub(r"[ \t\r\n]+", " ", text))
