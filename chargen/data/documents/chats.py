"""Chats: exports of WhatsApp and Telegram as lines "Name: message".

Dates, system messages and what stands for a picture are left out.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

from chargen.data.documents.packages import Package, opened_package
from chargen.data.documents.words import DocumentError, check_length

# -- WhatsApp -----------------------------------------------------------------------------

DATE = r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}\.?"
BETWEEN = r"(?P<comma>,? (?:à|um|at|a las|alle) |, ?)?(?:(?<=\d)[ \u202f])?"
HALF = r"(?:[ \u00a0\u202f]?[AaPp]\.?[ \u00a0\u202f]?[Mm]\.?)?"
RECORD = re.compile(  # of Android without brackets and seconds, of iOS with both
    rf"\u200e?(?:\[{DATE}{BETWEEN}\d{{1,2}}[:.]\d\d(?:[:.]\d\d)?{HALF}\] "
    rf"|{DATE}{BETWEEN.replace('comma', 'comma_')}\d{{1,2}}[:.]\d\d{HALF} - )(?P<said>.*)",
    re.DOTALL,
)
SAID = re.compile(r"([^:\n\"“„«]{1,60}): ?(.*)", re.DOTALL)
NO_TEXT = re.compile(  # "<Media omitted>" and "IMG-1.jpg (file attached)" in any language
    r"\u200e.*|<[^<>\n]{1,60}>|\S{1,80}\.\w{2,4} \([^)\n]{1,40}\)|null"
    r"|(?:This message was|You) deleted(?: this message)?\.?",
    re.DOTALL,
)
ZIPPED = re.compile(r"_chat\.txt|[^/]*WhatsApp[^/]*\.txt")
EDITED = re.compile(r"\s*\u200e?<[^<>\n]{1,60}>\s*$")


def whatsapp_messages(pieces: Iterable[str]) -> Iterator[str]:
    """Yield the messages of the .txt export of WhatsApp, each with its line end.

    Raises:
        DocumentError: a message is longer than any.
    """
    message: list[str] = []
    length = 0
    for line in _lines(pieces):
        if record := RECORD.match(line):
            yield from _said("".join(message))
            message, length = [record["said"]], 0
        else:
            message.append(line)
            length += len(line)
            check_length(length, "a message")
    yield from _said("".join(message))


def zipped_chat(package: Package) -> str:
    """Return the member of an archive that is the chat of an export with pictures, if one is."""
    return next(filter(ZIPPED.fullmatch, sorted(package.names)), "")


def zipped_messages(file: BinaryIO) -> Iterator[str]:
    """Yield the messages of the .zip export of WhatsApp, as ``whatsapp_messages``."""
    with opened_package(file) as package:
        chunks = package.chunks(zipped_chat(package))
        yield from whatsapp_messages(codecs.iterdecode(chunks, "utf-8-sig", "replace"))


def _said(message: str) -> Iterator[str]:
    """Yield a message as it is kept, if it is one."""
    found = SAID.fullmatch(message.rstrip("\n"))
    if found and not NO_TEXT.fullmatch(found[2].strip()):
        text = EDITED.sub("", found[2])
        yield f"{found[1]}: {text}\n".replace("\u200e", "")


def _lines(pieces: Iterable[str]) -> Iterator[str]:
    """Yield lines with LF as their ends."""
    rest: list[str] = []
    length = 0
    for piece in pieces:
        first, *others = piece.split("\n")
        rest.append(first)
        length += len(first)
        check_length(length, "a line")
        for other in others:
            yield "".join(rest).removesuffix("\r") + "\n"
            rest, length = [other], len(other)
    yield "".join(rest)


# -- Telegram -----------------------------------------------------------------------------

MESSAGES = re.compile(r'"messages"\s{,100}:\s{,100}\[')
BETWEEN_VALUES = re.compile(r"[\s,]*")
LARGEST = 1 << 22  # characters of a message with all that the export says of it


def telegram_messages(pieces: Iterable[str]) -> Iterator[str]:
    """Yield the messages of the result.json of Telegram, each with its line end.

    Each list of messages is read value by value, so that memory does not grow with the file.

    Raises:
        DocumentError: it is damaged.
    """
    buffer = _Buffer(pieces)
    while buffer.find(MESSAGES):
        while (value := buffer.value()) is not None:
            yield from _telegram_message(value)


class _Buffer:
    """A text that is read as it is needed."""

    def __init__(self, pieces: Iterable[str]) -> None:
        self._pieces, self._held, self._at = iter(pieces), "", 0
        self._decode = json.JSONDecoder(parse_int=str, parse_float=str).raw_decode

    def _more(self) -> bool:
        piece = next(self._pieces, None)
        if piece is not None:
            self._held, self._at = self._held[self._at :] + piece, 0
        return piece is not None

    def find(self, pattern: re.Pattern[str]) -> bool:
        """Go behind the next match of a short pattern."""
        while not (found := pattern.search(self._held, self._at)):
            self._at = max(self._at, len(self._held) - 300)
            if not self._more():
                return False
        self._at = found.end()
        return True

    def value(self) -> Any:
        """Return the next value of a list, or None at its end."""
        while True:
            if between := BETWEEN_VALUES.match(self._held, self._at):
                self._at = between.end()
            if self._held[self._at : self._at + 1] == "]":
                return None
            try:
                value, self._at = self._decode(self._held, self._at)
                return value
            except RecursionError:
                raise DocumentError("a message is nested too deeply") from None
            except ValueError as error:
                too_long = len(self._held) - self._at > LARGEST
                if too_long or not self._more():
                    raise DocumentError(f"its JSON is damaged: {str(error)[:80]}") from None


def _telegram_message(message: object) -> Iterator[str]:
    """Yield a message as it is kept, if it is one."""
    if not isinstance(message, dict) or message.get("type") != "message":
        return
    parts = message.get("text")
    words = [part if isinstance(part, str) else _text_of(part) for part in parts or ()]
    text = "".join(words).strip()
    if text:
        yield f"{message.get('from') or 'Deleted Account'}: {text}\n"


def _text_of(part: object) -> str:
    """Return the text of a link, a name or bold words."""
    text = part.get("text") if isinstance(part, dict) else ""
    return text if isinstance(text, str) else ""
