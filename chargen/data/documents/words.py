"""Words of documents: characters that are text, names of encodings, and what can go wrong."""

from __future__ import annotations

import codecs

from chargen.errors import CorpusError

LONGEST = 1 << 24  # characters of one tag, line or message
DEEPEST = 1_000  # levels of nesting
ODD_CODECS = {"idna", "punycode", "raw-unicode-escape", "unicode-escape", "undefined", "utf-7"}


class DocumentError(CorpusError):
    """Why a document cannot be read; ``reading`` adds its name and what to do."""


_REMOVED = [*range(9), *range(14, 32), 0x7F, 0xAD, 0xFEFF]  # controls, soft hyphens, BOMs
_CHARACTERS = {**dict.fromkeys(_REMOVED), 0x0B: "\n", 0x0C: "\n", 0x2028: "\n", 0x2029: "\n\n"}


def cleaned(text: str) -> str:
    """Return a text with LF as its line end and without control characters and half characters."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").translate(_CHARACTERS)
    try:
        text.encode()
    except UnicodeEncodeError:  # RTF writes pairs of surrogates
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def codec(name: str | None, otherwise: str) -> str:
    """Return the codec that a document names, if Python has it and it is one of texts."""
    try:
        found = codecs.lookup(name or otherwise)
        b"".decode(found.name)
    except (LookupError, ValueError, UnicodeError):
        return otherwise
    return otherwise if found.name in ODD_CODECS else found.name


def check_length(count: int, what: str) -> None:
    """Refuse a part of a document that would have to be held in memory.

    Raises:
        DocumentError: it is too long.
    """
    if count > LONGEST:
        raise DocumentError(f"{what} has more than {LONGEST:,} characters")


def check_count(count: int, most: int, what: str) -> None:
    """Refuse a document that takes minutes to parse.

    Raises:
        DocumentError: it is hardly anything but markup.
    """
    if count > most:
        raise DocumentError(f"it has more than {most:,} {what}")


def check_depth(depth: int) -> None:
    """Refuse nesting that no document has.

    Raises:
        DocumentError: it is too deep.
    """
    if depth > DEEPEST:
        raise DocumentError(f"it is nested more than {DEEPEST:,} levels deep")
