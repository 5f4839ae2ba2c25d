"""The byte tokenizer: 256 ids, any file."""

from __future__ import annotations

from typing import Any

import numpy as np

from chargen.tokenizers.base import Ids, Tokenizer, to_utf8


class ByteTokenizer(Tokenizer):
    """Each byte of the UTF-8 text, or of a binary file, is its own id."""

    kind = "byte"
    pieces = tuple(bytes([value]) for value in range(256))

    def encode(self, text: str) -> Ids:
        """Return one id a byte of the UTF-8 form of the text."""
        return self.encode_bytes(to_utf8(text))

    def encode_bytes(self, data: bytes) -> Ids:
        """Return one id a byte."""
        return np.frombuffer(data, np.uint8).astype(np.uint32)

    def to_json(self) -> dict[str, Any]:
        """Return the kind: there is no vocabulary to keep."""
        return {"kind": self.kind}
