"""Encoding of the parts of a corpus, piece by piece, with what becomes known of them."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chargen.data.decoding import Piece, to_bytes
from chargen.tokenizers import Ids, Tokenizer
from chargen.tokenizers.byte import ESCAPE, ByteTokenizer

LONGEST_LINE = 1 << 20  # characters


def encoded(
    name: str, part: Iterator[Piece], tokenizer: Tokenizer, dtype: np.dtype[Any]
) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Yield the ids of a part piece by piece, and with each what is known so far."""
    tokens, characters, size = 0, 0, 0
    utf8 = codecs.getincrementaldecoder("utf-8")(ESCAPE)
    counts = np.zeros(tokenizer.vocab_size, np.int64)  # of ids
    whole = part if tokenizer.kind in ("char", "byte") else _lines(part)
    for piece in whole:
        ids = _encode(tokenizer, piece).astype(dtype)
        data = to_bytes(piece)
        tokens, size = tokens + len(ids), size + len(data)
        characters += len(utf8.decode(data))
        facts: dict[str, Any] = {
            f"{name}_tokens": tokens,
            # The bytes of an incomplete character count as one each, if nothing comes after them.
            f"{name}_characters": characters + len(utf8.getstate()[0]),
            f"{name}_bytes": size,
        }
        if name == "train" and tokenizer.unknown_id is not None:
            counts += np.bincount(ids, minlength=len(counts))
            facts["unknown_rate"] = _unknown_rate(counts)
        yield ids.tobytes(), facts


def _lines(pieces: Iterable[Piece]) -> Iterator[str]:
    """Cut pieces anew behind a newline, which no token crosses, unless a line is very long."""
    rest = ""
    for piece in pieces:
        rest += str(piece)
        end = rest.rfind("\n") + 1 or (len(rest) if len(rest) > LONGEST_LINE else 0)
        if end:
            yield rest[:end]
            rest = rest[end:]
    if rest:
        yield rest


def _encode(tokenizer: Tokenizer, content: Piece) -> Ids:
    if isinstance(content, bytes):
        assert isinstance(tokenizer, ByteTokenizer)
        return tokenizer.encode_bytes(content)
    return tokenizer.encode(content)


def _unknown_rate(counts: NDArray[np.int64]) -> float:
    """Return the probability of a character that is not in the training part.

    Good and Turing's estimate: the fraction of characters seen exactly once; kept between
    1 in 5,000, so that the unknown id is learned at all, and 1 in 100.
    """
    once = float(np.count_nonzero(counts == 1)) / max(1, int(counts.sum()))
    return min(max(once, 1 / 5000), 1 / 100)
