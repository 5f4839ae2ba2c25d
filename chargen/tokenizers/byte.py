"""Byte tokenizer: 256 ids, for any file."""

from __future__ import annotations

from typing import Any

import numpy as np

from chargen.tokenizers.base import Ids, Tokenizer, to_utf8


class ByteTokenizer(Tokenizer):
    """The id of a byte is its value, in UTF-8 text as in a binary file."""

    kind = "byte"
    pieces = tuple(bytes([value]) for value in range(256))

    def encode(self, text: str) -> Ids:
        """Return the bytes of the text in UTF-8."""
        return self.encode_bytes(to_utf8(text))

    def encode_bytes(self, data: bytes) -> Ids:
        """Return the bytes as ids."""
        return np.frombuffer(data, np.uint8).astype(np.uint32)

    def to_json(self) -> dict[str, Any]:
        """Return the kind; there is no vocabulary."""
        return {"kind": self.kind}
