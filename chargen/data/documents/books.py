"""Books: the chapters of an .epub file, in their order of reading."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from typing import BinaryIO
from urllib.parse import unquote

from chargen.data.documents.markup import page_paragraphs
from chargen.data.documents.packages import Elements, Package, opened_package, parse_xml
from chargen.data.documents.words import DocumentError, codec

CONTAINER = "META-INF/container.xml"
ENCRYPTION = "META-INF/encryption.xml"
DECLARED = re.compile(rb"""^(?:\xef\xbb\xbf)?<\?xml[^>]{,200}encoding=["']([\w.-]{1,40})["']""")


def chapters(file: BinaryIO) -> Iterator[str]:
    """Yield the text of each chapter, with a blank line behind it.

    Raises:
        DocumentError: it is damaged, protected or hostile.
    """
    with opened_package(file) as package:
        protected = _listed(package, ENCRYPTION, "CipherReference", "URI")
        for name in _spine(package):
            if name in protected:
                raise DocumentError("it is protected (DRM)")
            text = "".join(page_paragraphs([_decoded(package.whole(name))])).strip()
            if text:
                yield f"{text}\n\n"


def _spine(package: Package) -> list[str]:
    """Return the names of the chapters, each once."""
    roots = _listed(package, CONTAINER, "rootfile", "full-path")
    if not roots:
        raise DocumentError("it has no list of chapters")
    book = _Book()
    for _ in parse_xml(package.chunks(roots[0]), book):
        pass
    folder = posixpath.dirname(roots[0])
    hrefs = dict.fromkeys(book.items[key] for key in book.order if key in book.items)
    return [posixpath.normpath(posixpath.join(folder, unquote(href))) for href in hrefs]


def _listed(package: Package, part: str, element: str, attribute: str) -> list[str]:
    """Return one attribute of all elements of a name, of a part that may be missing."""
    found = _Attributes(element, attribute)
    for _ in parse_xml(package.chunks(part), found) if part in package.names else ():
        pass
    return found.values


def _decoded(data: bytes) -> str:
    """Return the text of a chapter; what cannot be decoded is replaced."""
    utf16 = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    declared = DECLARED.match(data)
    name = "utf-16" if utf16 else codec(declared and declared[1].decode(), "utf-8")
    return data.decode(name, "replace")


class _Attributes(Elements):
    def __init__(self, element: str, attribute: str) -> None:
        self.values: list[str] = []
        self._element, self._attribute = element, attribute

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name.rpartition(" ")[2] == self._element and self._attribute in attributes:
            self.values.append(attributes[self._attribute])


class _Book(Elements):
    """The files of a book and their order; the table of contents is no chapter."""

    def __init__(self) -> None:
        self.items: dict[str, str] = {}
        self.order: list[str] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        local = name.rpartition(" ")[2]
        if local == "itemref":
            self.order.append(attributes.get("idref", ""))
        elif local == "item" and _is_chapter(attributes):
            self.items[attributes.get("id", "")] = attributes.get("href", "")


def _is_chapter(item: dict[str, str]) -> bool:
    is_text = "html" in item.get("media-type", "html")
    return is_text and "nav" not in item.get("properties", "").split()
