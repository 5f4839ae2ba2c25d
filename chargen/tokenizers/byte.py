"""Byte tokenizer: 256 ids, for any file.

In a text of a byte model, a byte that is not UTF-8 is a lone surrogate, U+DC80 to U+DCFF, as in
the file names of Python (``errors="surrogateescape"``). So every byte comes back.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from chargen.tokenizers.base import Ids, Tokenizer, to_utf8

ESCAPE = "surrogateescape"


class ByteTokenizer(Tokenizer):
    """The id of a byte is its value, in UTF-8 text as in a binary file."""

    kind = "byte"
    pieces = tuple(bytes([value]) for value in range(256))
    errors = ESCAPE

    def encode(self, text: str) -> Ids:
        """Return the bytes of the text."""
        return self.encode_bytes(bytes_of(text))

    def encode_bytes(self, data: bytes) -> Ids:
        """Return the bytes as ids."""
        return np.frombuffer(data, np.uint8).astype(np.uint32)

    def to_json(self) -> dict[str, Any]:
        """Return the kind; there is no vocabulary."""
        return {"kind": self.kind}


def text_of(data: bytes) -> str:
    """Return bytes as a text of a byte model."""
    return data.decode("utf-8", ESCAPE)


def bytes_of(text: str) -> bytes:
    """Return the bytes of a text of a byte model.

    Raises:
        TokenizerError: it contains a lone surrogate that stands for no byte.
    """
    return to_utf8(text, errors=ESCAPE)


def replaced(text: str) -> str:
    """Return a text of a byte model with U+FFFD for what is not UTF-8."""
    return bytes_of(text).decode("utf-8", "replace")


def begins_character(data: bytes) -> NDArray[np.bool_]:
    """Tell which bytes (N,) begin a character; one that is not UTF-8 is a character by itself."""
    codes = np.frombuffer(text_of(data).encode("utf-32-le", "surrogatepass"), "<u4")
    sizes = 1 + sum((codes >= limit).astype(np.int64) for limit in (0x80, 0x800, 0x10000))
    sizes = np.where((codes >= 0xDC80) & (codes <= 0xDCFF), 1, sizes)
    begins = np.zeros(len(data), np.bool_)
    begins[np.cumsum(sizes) - sizes] = True
    return begins
