"""Mail: subject and plain text of each message of a mailbox, or of a single one.

Quoted lines, the line that announces them, and signatures are left out. A message of HTML alone
gives the text of its page.
"""

from __future__ import annotations

import email
import re
from collections.abc import Iterator
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message
from typing import BinaryIO

from chargen.data.documents.markup import page_paragraphs
from chargen.data.documents.words import DocumentError, codec

LARGEST = 1 << 22  # bytes of a message; what is behind them is attachments
SUBJECT = 2_000  # characters; decoding takes quadratic time
FROM = re.compile(rb"From \S.*\d\d:\d\d.*\d{4}")


def mailbox_messages(file: BinaryIO) -> Iterator[str]:
    """Yield the messages of an .mbox file, each with a blank line behind it."""
    yield from (text for data in _messages(file) for text in _text(data))


def mail_text(file: BinaryIO) -> Iterator[str]:
    """Yield the one message of an .eml file."""
    yield from _text(file.read(LARGEST))


def _messages(file: BinaryIO) -> Iterator[bytes]:
    """Cut a mailbox at the lines that begin a message; of each the first bytes are kept."""
    message, blank = bytearray(), True
    for line in iter(lambda: file.readline(LARGEST), b""):
        if blank and FROM.match(line):
            yield bytes(message)
            message = bytearray()
        elif len(message) < LARGEST:
            message += line[1:] if line.startswith(b">From ") else line
        blank = not line.strip()
    yield bytes(message)


def _text(data: bytes) -> Iterator[str]:
    """Yield the text of a message, if it has any."""
    try:
        message = email.message_from_bytes(data)
        subject, body = _subject(message), _body(message)
    except RecursionError:  # parts in parts in parts
        return
    if body or subject:
        yield "\n\n".join(filter(None, (subject, body))) + "\n\n"


def _subject(message: Message) -> str:
    raw = str(message.get("subject", ""))[:SUBJECT]
    try:
        words = [
            part if isinstance(part, str) else part.decode(codec(name, "latin-1"), "replace")
            for part, name in decode_header(raw)
        ]
    except (HeaderParseError, ValueError):
        words = [raw]
    return " ".join("".join(words).split())


def _body(message: Message) -> str:
    """Return the plain text of a message, or else that of its first page of HTML."""
    plain: list[str] = []
    pages: list[str] = []
    for part in message.walk():
        if part.get_content_disposition() != "attachment":
            if part.get_content_type() == "text/plain":
                plain.append(_without_quotes(_decoded(part)))
            elif part.get_content_type() == "text/html" and not plain and not pages:
                pages.append(_page(_decoded(part)))
    return "\n\n".join(filter(None, plain or pages))


def _decoded(part: Message) -> str:
    payload = part.get_payload(decode=True)
    data = payload if isinstance(payload, bytes) else b""
    try:
        name = part.get_content_charset()
    except (LookupError, ValueError):
        name = None
    return data.decode(codec(name, "utf-8"), "replace").replace("\r\n", "\n")


def _page(source: str) -> str:
    try:
        return "".join(page_paragraphs([source])).strip()
    except DocumentError:
        return ""


def _without_quotes(body: str) -> str:
    """Return what the sender wrote: no quoted lines, nothing behind the mark of a signature."""
    kept: list[str] = []
    for line in body.split("\n"):
        if line == "-- ":
            break
        if not line.startswith(">"):
            kept.append(line.rstrip())
        elif kept and kept[-1].endswith(":"):
            kept.pop()  # "Anna wrote:"
    return re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip()
