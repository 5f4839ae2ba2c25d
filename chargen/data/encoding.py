"""Encoding of the parts of a corpus, piece by piece, with what becomes known of them."""

from __future__ import annotations

import codecs
import math
from array import array
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chargen.data.collection import Sizes
from chargen.data.decoding import Piece, to_bytes
from chargen.tokenizers import Ids, Tokenizer
from chargen.tokenizers.byte import ESCAPE, ByteTokenizer

LONGEST_LINE = 1 << 20  # characters


def has_one_token_each(tokenizer: Tokenizer) -> bool:
    """Tell whether each character, or byte, is a token."""
    return tokenizer.kind in ("char", "byte")


def encoded(
    name: str,
    part: Iterable[Piece],
    tokenizer: Tokenizer,
    dtype: np.dtype[Any],
    lengths: Sizes,
    tokens: array[int],
) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Yield the ids of a part piece by piece, and with each what is known so far.

    Args:
        name: of the part.
        part: its pieces.
        tokenizer: encodes them.
        dtype: of the ids.
        lengths: characters of each text of the part (R,), if it is read by itself, else none.
        tokens: takes the tokens of each text, if they are not its characters, or bytes.
    """
    count, characters, size, begin = 0, 0, 0, 0
    utf8 = codecs.getincrementaldecoder("utf-8")(ESCAPE)
    counts = np.zeros(tokenizer.vocab_size, np.int64)  # of ids
    units = ((p, False) for p in part) if has_one_token_each(tokenizer) else _units(part, lengths)
    for piece, is_end in units:
        ids = _encode(tokenizer, piece).astype(dtype)
        data = to_bytes(piece)
        count, size = count + len(ids), size + len(data)
        characters += len(utf8.decode(data))
        facts: dict[str, Any] = {
            f"{name}_tokens": count,
            # The bytes of an incomplete character count as one each, if nothing comes after them.
            f"{name}_characters": characters + len(utf8.getstate()[0]),
            f"{name}_bytes": size,
        }
        if name == "train" and tokenizer.unknown_id is not None:
            counts += np.bincount(ids, minlength=len(counts))
            facts["unknown_rate"] = _unknown_rate(counts)
        if is_end:
            tokens.append(count - begin)
            begin = count
        yield ids.tobytes(), facts


def _units(pieces: Iterable[Piece], lengths: Sizes) -> Iterator[tuple[str, bool]]:
    """Cut pieces anew behind each text, and behind a newline, which no token crosses.

    A very long line is cut anywhere. Tells of each whether a text ends with it.
    """
    sizes, rest = iter(lengths), ""
    missing: float = next(sizes, math.inf)  # of the text, behind the rest
    for piece in map(str, pieces):
        begin = 0
        while missing <= len(piece) - begin:
            yield rest + piece[begin : begin + int(missing)], True
            begin, rest, missing = begin + int(missing), "", next(sizes, math.inf)
        rest, missing = rest + piece[begin:], missing - (len(piece) - begin)
        end = rest.rfind("\n") + 1 or (len(rest) if len(rest) > LONGEST_LINE else 0)
        if end:
            yield rest[:end], False
            rest = rest[end:]
    if rest:
        yield rest, True


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
