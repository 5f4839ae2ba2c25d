"""Character tokenizer: one id per Unicode code point."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chargen.errors import TokenizerError
from chargen.tokenizers.base import CODE_POINTS, Ids, Tokenizer, to_utf8


def code_points(text: str) -> NDArray[np.uint32]:
    """Return the code points of a text; a lone surrogate is an error."""
    return np.frombuffer(to_utf8(text, "utf-32-le"), "<u4")


class CharTokenizer(Tokenizer):
    """The alphabet of the training text in code point order; id 0 is UNK, all other characters.

    Training replaces a few characters with id 0, so that its probability is learned
    (``data.batches.Batches``).
    """

    kind = "char"
    unknown_id = 0
    never_sampled = (0,)

    def __init__(self, alphabet: str) -> None:
        self.alphabet = alphabet
        self.pieces = ("\ufffd".encode(), *(character.encode() for character in alphabet))
        codes = np.array([ord(character) for character in alphabet], np.int64)
        self._id_of = np.zeros(sys.maxunicode + 1, np.uint32)  # 4 MB, mostly untouched
        self._id_of[codes] = np.arange(1, len(alphabet) + 1)

    @classmethod
    def from_text(cls, text: Iterable[str]) -> CharTokenizer:
        """Collect the alphabet of a text, given whole or in pieces."""
        seen = np.zeros(sys.maxunicode + 1, np.bool_)
        for piece in text:
            seen[code_points(piece)] = True
        return cls("".join(map(chr, np.flatnonzero(seen))))

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> CharTokenizer:
        """Read what ``to_json`` wrote."""
        alphabet = data.get("alphabet")
        if not isinstance(alphabet, str) or list(alphabet) != sorted(set(alphabet)):
            raise TokenizerError(
                "the model's alphabet is damaged: not distinct characters in order"
            )
        to_utf8(alphabet)
        return cls(alphabet)

    @property
    def unknown_count(self) -> int:
        """Number of code points outside the alphabet."""
        return CODE_POINTS - len(self.alphabet)

    def encode(self, text: str) -> Ids:
        """Return one id per character."""
        ids: Ids = self._id_of[code_points(text)]
        return ids

    def unknown_characters(self, text: str) -> list[str]:
        """Return the unknown characters of a text, sorted and without repetitions."""
        return sorted(set(text) - set(self.alphabet))

    def to_json(self) -> dict[str, Any]:
        """Return the kind and the alphabet."""
        return {"kind": self.kind, "alphabet": self.alphabet}
