"""Interface of the tokenizers: a table from ids to bytes, and an encoder from text to ids."""

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

PADDING = -1  # in place of an id, behind the end of a text that is shorter than others
CODE_POINTS = 0x110000 - 0x800  # what Unicode can encode: all code points but the surrogates


class Tokenizer(ABC):
    """Encodes and decodes; ``decode(encode(text)) == text`` for every text in the alphabet.

    Attributes:
        kind: name of the tokenizer in the options.
        pieces: the UTF-8 bytes of each id (V entries).
        unknown_id: id of all characters outside the alphabet (UNK); None if there are none.
        never_sampled: ids that stand for no text and are never sampled.
        errors: what bytes that are not UTF-8 are in a text, by the names of Python's codecs.
    """

    kind: str
    pieces: tuple[bytes, ...]
    unknown_id: int | None = None
    never_sampled: tuple[int, ...] = ()
    errors = "replace"  # they become U+FFFD

    @property
    def vocab_size(self) -> int:
        """Number of ids (V)."""
        return len(self.pieces)

    @property
    def unknown_count(self) -> int:
        """Number of code points outside the alphabet.

        The negative log-likelihood of an unknown character is -ln P(UNK) + ln(unknown_count), so
        that a tokenizer with a smaller alphabet does not score better.
        """
        return 1

    def unknown_nll(self, ids: Ids) -> NDArray[np.float64]:
        """Return ln(unknown_count) for each unknown character and 0 for the others, (N,).

        Add it to the negative log-likelihood of the ids.
        """
        nll: NDArray[np.float64] = (ids == self.unknown_id) * math.log(self.unknown_count)
        return nll

    @abstractmethod
    def encode(self, text: str) -> Ids:
        """Return the ids of a text.

        Raises:
            TokenizerError: the text contains a lone surrogate, which no encoding can store.
        """

    def decode(self, ids: Iterable[int], final: bool = True) -> str:
        """Return the text of some ids; an incomplete character at its end only if it is final."""
        data = b"".join([self.pieces[i] for i in ids])
        return codecs.utf_8_decode(data, self.errors, final)[0]

    def decoder(self) -> StreamDecoder:
        """Return an incremental decoder, which never returns half a character."""
        return StreamDecoder(self)

    @functools.cached_property
    def texts(self) -> tuple[str | None, ...]:
        """The text of each id, None for an id that is part of a character."""
        return tuple(_whole(piece) for piece in self.pieces)

    def unknown_characters(self, text: str) -> list[str]:
        """Return the unknown characters of a text, sorted and without repetitions."""
        return []

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Return plain data with the whole vocabulary."""


class StreamDecoder:
    """Incremental decoder; the concatenation of its results equals ``Tokenizer.decode``."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._pieces, self._texts = tokenizer.pieces, tokenizer.texts
        self._utf8 = codecs.getincrementaldecoder("utf-8")(tokenizer.errors)
        self._incomplete = False  # whether the last id ended within a character

    def push(self, id: int) -> str:
        """Return the characters that this id completes: none, one or several."""
        if not self._incomplete and (text := self._texts[id]) is not None:
            return text
        decoded = self._utf8.decode(self._pieces[id])
        self._incomplete = bool(self._utf8.getstate()[0])
        return decoded

    def flush(self) -> str:
        """Return what stands for an incomplete character at the end, or nothing."""
        return self._utf8.decode(b"", final=True)


def _whole(piece: bytes) -> str | None:
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return None


def to_utf8(text: str, encoding: str = "utf-8", errors: str = "strict") -> bytes:
    """Encode a text.

    Raises:
        TokenizerError: it contains a lone surrogate; the message says where.
    """
    try:
        return text.encode(encoding, errors)
    except UnicodeEncodeError as error:
        raise TokenizerError(
            f"the text has the lone surrogate U+{ord(text[error.start]):04X} at character "
            f"{error.start}, which cannot be encoded; remove it or read the file with --encoding"
        ) from None
