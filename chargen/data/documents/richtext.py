"""RTF: the paragraphs of a rich text file, one a line.

Libraries for RTF hold the text several times and search it with expressions that take quadratic
time on hostile files; the little of the format that bears text is read here token by token.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from chargen.data.documents.words import check_count, check_depth, check_length, codec

TOKEN = re.compile(
    rb"\\([a-zA-Z]{1,32})(-?\d{1,9})? ?|\\'([0-9a-fA-F]{2})|\\(.)|([{}])|([^\\{}]+)|.", re.DOTALL
)
SKIPPED = {  # groups that are no text, beside those that are marked by \*
    *(b"fonttbl", b"colortbl", b"stylesheet", b"info", b"pict", b"objdata", b"fldinst"),
    *(b"header", b"headerl", b"headerr", b"headerf", b"footer", b"footerl", b"footerr"),
    *(b"footerf", b"footnote", b"annotation", b"pntext", b"listtext", b"xe", b"tc"),
}
MOST_TOKENS = 5_000_000  # a book has a tenth of that; they take 15 s
ENDS = {b"par", b"sect", b"page", b"row"}
STAND_FOR = {
    **{b"tab": "\t", b"cell": "\t", b"line": "\n", b"emdash": "—", b"endash": "–"},
    **{b"lquote": "‘", b"rquote": "’", b"ldblquote": "“", b"rdblquote": "”", b"bullet": "•"},
    **{b"emspace": " ", b"enspace": " ", b"~": "\xa0", b"_": "-"},
    **{b"{": "{", b"}": "}", b"\\": "\\"},
}
CODE_PAGES = {  # by \fcharset
    **{77: "mac-roman", 128: "cp932", 129: "cp949", 130: "johab", 134: "gbk", 136: "big5"},
    **{161: "cp1253", 162: "cp1254", 163: "cp1258", 177: "cp1255", 178: "cp1256", 186: "cp1257"},
    **{204: "cp1251", 222: "cp874", 238: "cp1250"},
}


@dataclass(frozen=True)
class _Group:
    """What holds inside a pair of braces."""

    skipped: bool = False
    fonts: bool = False  # in the table of fonts
    fallback: int = 1  # characters that stand behind \u for readers without Unicode
    code_page: str = ""


@dataclass
class _Reader:
    """The state of a reader between two tokens."""

    group: _Group = field(default_factory=_Group)
    outer: list[_Group] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)
    encoded: bytearray = field(default_factory=bytearray)  # of the paragraph, not decoded yet
    code_page: str = "cp1252"
    fonts: dict[int, str] = field(default_factory=dict)
    font: int = 0  # that the table of fonts describes
    to_skip: int = 0  # characters that are the fallback of one before

    def decode(self) -> None:
        """Decode what has been collected."""
        if self.encoded:
            name = self.group.code_page or self.code_page
            self.parts.append(self.encoded.decode(name, "replace"))
            self.encoded = bytearray()

    def characters(self, data: bytes) -> None:
        """Take characters that are written as bytes."""
        skipped = min(self.to_skip, len(data))
        self.to_skip -= skipped
        if not self.group.skipped:
            self.encoded += data[skipped:]
            check_length(len(self.encoded), "a paragraph")

    def brace(self, brace: bytes) -> None:
        """Begin or end a group."""
        self.decode()
        self.to_skip = 0
        if brace == b"{":
            self.outer.append(self.group)
            check_depth(len(self.outer))
        elif self.outer:
            self.group = self.outer.pop()

    def word(self, word: bytes, number: int | None) -> None:
        """Obey a control word or a control symbol."""
        self.decode()
        self.to_skip = 0
        if word == b"*" or word in SKIPPED:
            fonts = self.group.fonts or word == b"fonttbl"
            self.group = replace(self.group, skipped=True, fonts=fonts)
        elif word == b"u" and number is not None:
            self.to_skip = self.group.fallback
            self.parts += [chr(number % 0x10000)] * (not self.group.skipped)
        elif word == b"uc":
            self.group = replace(self.group, fallback=min(max(number or 0, 0), 9))
        elif word == b"ansicpg":
            self.code_page = codec(f"cp{number}", "cp1252")
        elif word == b"f" and self.group.fonts:
            self.font = number or 0
        elif word == b"f":
            self.group = replace(self.group, code_page=self.fonts.get(number or 0, ""))
        elif word == b"fcharset" and len(self.fonts) < 10_000:
            self.fonts[self.font] = CODE_PAGES.get(number or 0, "")
        elif word in STAND_FOR and not self.group.skipped:
            self.parts.append(STAND_FOR[word])


def rtf_paragraphs(file: BinaryIO) -> Iterator[str]:
    """Yield the paragraphs of an .rtf file.

    Raises:
        DocumentError: it is nested too deeply, or is hardly anything but control words.
    """
    data, reader, at, count = file.read(), _Reader(), 0, 0
    while at < len(data) and (token := TOKEN.match(data, at)):
        at, count = token.end(), count + 1
        check_count(count, MOST_TOKENS, "control words")
        word, number, code, symbol, brace, text = token.groups()
        if word == b"bin":
            at += max(0, int(number or 0))
        elif text is not None:
            reader.characters(text.translate(None, b"\r\n\0"))
        elif code:
            reader.characters(bytes.fromhex(code.decode()))
        elif brace:
            reader.brace(brace)
            if not reader.outer:
                break  # what stands behind the document
        elif (word in ENDS or symbol in (b"\r", b"\n")) and not reader.group.skipped:
            reader.decode()
            yield "".join([*reader.parts, "\n"])
            reader.parts = []
        elif word or symbol:
            reader.word(word or symbol, None if number is None else int(number))
    reader.decode()
    if reader.parts:
        yield "".join([*reader.parts, "\n"])
