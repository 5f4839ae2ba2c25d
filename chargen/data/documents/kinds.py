"""Kinds of documents, told by content: signatures, members of zip archives, first lines.

A text stays a text unless it cannot be anything but an export or a page: one that begins with "<"
or "{", a log with dates, a letter with "From:" are what they were.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chargen.data.documents.chats import NO_TEXT, RECORD, SAID, zipped_chat
from chargen.data.documents.office import CONTENT_TYPES, main_part
from chargen.data.documents.packages import Package, opened_package
from chargen.data.documents.words import DocumentError, codec

if TYPE_CHECKING:
    from chargen.data.sources import Source

HEAD = 1 << 16  # bytes that are looked at
MB = 1 << 20


@dataclass(frozen=True)
class Kind:
    """A kind of document.

    Attributes:
        name: for messages.
        units: what its text is counted in.
        largest: bytes that are read of one; what has to be held in memory, or parsed slowly.
        advice: what to do instead with one that cannot be read; empty if it can.
    """

    name: str
    units: str = ""
    largest: int = 1 << 40
    advice: str = ""


WORD = Kind("Word document", "paragraphs", 1 << 30)
ODT = Kind("OpenDocument text", "paragraphs", 1 << 30)
EPUB = Kind("EPUB book", "chapters", 1 << 30)
PDF = Kind("PDF", "pages", 1 << 30)
RTF = Kind("rich text file", "paragraphs", 128 * MB)
PAGE = Kind("web page", "paragraphs", 32 * MB)
WHATSAPP = Kind("WhatsApp chat", "messages")
WHATSAPP_ZIP = Kind("zipped WhatsApp chat", "messages", 1 << 33)  # with its pictures
TELEGRAM = Kind("Telegram export", "messages")
MAILBOX = Kind("mailbox", "messages")
MAIL = Kind("mail", "messages")

DAMAGED_ZIP = Kind("zip archive", advice="it is damaged or too large; save it again")
ARCHIVE = Kind("zip archive", advice="unpack it, and give the folder")
NO_WORD = Kind("Office file", advice="it has no text document; save its text as .docx or .txt")
OLD_OFFICE = Kind(
    "an Office file", advice="it is in the old format or encrypted; save it as .docx, no password"
)
KINDLE = Kind("Kindle book", advice="convert it to .epub")

PACKAGES = {  # by the member "mimetype"
    b"application/epub+zip": EPUB,
    b"application/vnd.oasis.opendocument.text": ODT,
    b"application/vnd.oasis.opendocument.text-template": ODT,
}
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


def kind_of(source: Source, encoding: str | None = None) -> Kind | None:
    """Return what kind of document a file is, or None if it is none.

    Args:
        source: the file; of its name only the extension of HTML matters, for fragments of a page.
        encoding: of its text, if that is known.
    """
    head = next(source.blocks(), b"")[:HEAD]
    if head.startswith(b"PK\3\4"):
        return _kind_of_package(source)
    if re.match(rb"%PDF-\d\.\d\s", head):
        return PDF
    if re.match(rb"\{\\rtf\d?[\\\s{]", head):
        return RTF
    if head.startswith(OLE):
        return OLD_OFFICE
    if head[60:68] == b"BOOKMOBI":
        return KINDLE
    return _kind_of_text(_text(head, encoding), source.kind)


def _kind_of_package(source: Source) -> Kind | None:
    try:
        with source.seekable(WORD.largest) as file, opened_package(file) as package:
            if CONTENT_TYPES in package.names:
                return WORD if main_part(package) else NO_WORD
            return WHATSAPP_ZIP if zipped_chat(package) else _by_mimetype(package)
    except DocumentError:
        return DAMAGED_ZIP


def _by_mimetype(package: Package) -> Kind:
    mimetype = package.whole("mimetype").strip() if "mimetype" in package.names else b""
    other = NO_WORD if mimetype.startswith(b"application/vnd.oasis.") else ARCHIVE
    return PACKAGES.get(mimetype, other)


def _text(head: bytes, encoding: str | None) -> str:
    """Decode the first bytes of a file, as well as that can be known."""
    marks = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
    by_mark = next((name for mark, name in marks.items() if head.startswith(mark)), None)
    text = head.decode(by_mark or codec(encoding, "utf-8"), "replace")
    return text.lstrip("\ufeff").replace("\r\n", "\n")


def _kind_of_text(head: str, extension: str) -> Kind | None:
    if is_page(head) or (extension in (".html", ".htm", ".xhtml") and re.search(r"</?\w+>", head)):
        return PAGE
    if TELEGRAM_HEAD.match(head) and TELEGRAM_KEYS.search(head):
        return TELEGRAM
    if MAILBOX_HEAD.match(head):
        return MAILBOX if _is_mail(head.partition("\n")[2]) else None
    if _is_mail(head):
        return MAIL
    return WHATSAPP if _is_whatsapp(head) else None


# -- pages --------------------------------------------------------------------------------

PAGE_HEAD = re.compile(
    r"\s*(?:<\?xml[^>]*+>\s*+)?(?:<!--(?:(?!-->).)*+-->\s*+)*+(?:<!doctype html[^>]*+>|<html[\s>])",
    re.IGNORECASE | re.DOTALL,
)


def is_page(head: str) -> bool:
    """Tell whether a text begins as a whole page of HTML does, and has a head or a body."""
    return bool(PAGE_HEAD.match(head) and re.search(r"<(?:head|body)[\s>]", head, re.IGNORECASE))


# -- mail ---------------------------------------------------------------------------------

MAILBOX_HEAD = re.compile(r"From \S.*\d\d:\d\d.*\d{4}.*\n")
HEADER = re.compile(r"([!-9;-~]+):")


def _is_mail(head: str) -> bool:
    """Tell whether a text begins with the header of a mail, which its sender did not type."""
    names = set()
    for line in head.split("\n"):
        if not line.strip():
            break
        if found := HEADER.match(line):
            names.add(found[1].lower())
        elif not (line.startswith((" ", "\t")) and names):
            return False
    typed = {"date", "subject", "to"} & names
    return bool("from" in names and typed and {"message-id", "mime-version", "received"} & names)


# -- chats --------------------------------------------------------------------------------

TELEGRAM_HEAD = re.compile(r'\s*\{\s*"(?:name|about|type|id)"\s*:')
TELEGRAM_KEYS = re.compile(
    r'"type"\s*:\s*"\w+(?:_chat|_group|_supergroup|_channel|_messages)",\s*"id"\s*:\s*-?\d+,'
    r'\s*"messages"\s*:\s*\[|^\s*\{\s*"about"\s*:\s*"[^"]*Telegram'
)
LOG = re.compile(
    r"[a-z0-9_.-]+|(?i:info|warn|warning|error|debug|trace|fatal|critical|notice)"
    r"|.*[\[\]=/\\<>{}].*"
)
FEWEST = 3  # messages


def _is_whatsapp(head: str) -> bool:
    """Tell whether the lines of a text are dated messages of people, and no log."""
    if not RECORD.match(head.lstrip("\n")[:200]):
        return False
    records = [found for line in head.split("\n") if (found := RECORD.fullmatch(line))]
    said = [found for record in records if (found := SAID.fullmatch(record["said"]))]
    names = {found[1] for found in said}
    if len(said) < max(FEWEST, len(records) / 2) or all(map(LOG.fullmatch, names)):
        return False
    if sum(LOG.fullmatch(found[1]) is not None for found in said) > len(said) / 10:
        return False
    marked = any(NO_TEXT.fullmatch(found[2].strip()) for found in said) or "WhatsApp" in head
    return marked or any(record["comma"] or record["comma_"] for record in records)
