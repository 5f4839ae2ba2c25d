"""What every tokenizer is: a table from ids to bytes, and a way from text to ids."""

from __future__ import annotations

import codecs
import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chargen.errors import TokenizerError

Ids = NDArray[np.integer[Any]]

CODE_POINTS = 0x110000 - 0x800  # what Unicode can encode: all code points but the surrogates


class Tokenizer(ABC):
    """Text to ids and back; ``decode(encode(text)) == text`` for all the alphabet covers.

    Attributes:
        kind: the name users choose it by.
        pieces: the UTF-8 bytes that each id stands for, one entry an id (V entries).
        unknown_id: the id of a character outside the alphabet; None if every text is covered.
        never_sampled: ids that stand for no text and so are never drawn.
    """

    kind: str
    pieces: tuple[bytes, ...]
    unknown_id: int | None = None
    never_sampled: tuple[int, ...] = ()

    @property
    def vocab_size(self) -> int:
        """Number of ids (V)."""
        return len(self.pieces)

    @property
    def unknown_count(self) -> int:
        """Number of code points that only the unknown id stands for.

        Naming one of them costs ln(unknown_count) nats on top of -ln P(unknown), so that no
        tokenizer scores better by knowing less.
        """
        return 1

    def unknown_nll(self, ids: Ids) -> NDArray[np.float64]:
        """Return what it costs to say which character each unknown one is, in nats, (N,)."""
        costs: NDArray[np.float64] = (ids == self.unknown_id) * math.log(self.unknown_count)
        return costs

    @abstractmethod
    def encode(self, text: str) -> Ids:
        """Return the ids of a text.

        Raises:
            TokenizerError: the text holds a lone surrogate, which no encoding can store.
        """

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of some ids; bytes that are not UTF-8 show as U+FFFD."""
        return b"".join([self.pieces[i] for i in ids]).decode("utf-8", "replace")

    def decoder(self) -> Decoder:
        """Return a decoder that takes one id at a time and never shows half a character."""
        return Decoder(self.pieces, self._texts)

    @functools.cached_property
    def _texts(self) -> tuple[str | None, ...]:
        """The text of each id that is one in itself, None for parts of characters."""
        return tuple(_whole(piece) for piece in self.pieces)

    def unknown_characters(self, text: str) -> list[str]:
        """Return the characters of a text that are outside the alphabet, each once, sorted."""
        return []

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Return plain data that holds the whole vocabulary."""


class Decoder:
    """Ids to text, one at a time; the concatenation equals ``Tokenizer.decode``."""

    def __init__(self, pieces: tuple[bytes, ...], texts: tuple[str | None, ...]) -> None:
        self._pieces, self._texts = pieces, texts
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._within = False  # a character

    def push(self, id: int) -> str:
        """Return the characters that this id completes: none, one or several."""
        if not self._within and (text := self._texts[id]) is not None:
            return text
        decoded = self._utf8.decode(self._pieces[id])
        self._within = bool(self._utf8.getstate()[0])
        return decoded

    def flush(self) -> str:
        """Return what stands for an incomplete character at the end."""
        return self._utf8.decode(b"", final=True)


def _whole(piece: bytes) -> str | None:
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return None


def to_utf8(text: str, encoding: str = "utf-8") -> bytes:
    """Encode a text, and say clearly where it holds a lone surrogate."""
    try:
        return text.encode(encoding)
    except UnicodeEncodeError as error:
        raise TokenizerError(
            f"the text has the lone surrogate U+{ord(text[error.start]):04X} at character "
            f"{error.start}, which is no character; remove it or read the file with --encoding"
        ) from None
