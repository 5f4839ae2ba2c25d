"""Lossless tokenizers: char, byte, unigram and bpe."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from chargen.errors import TokenizerError
from chargen.tokenizers.base import Ids, StreamDecoder, Tokenizer
from chargen.tokenizers.byte import ByteTokenizer
from chargen.tokenizers.char import CharTokenizer

__all__ = ["Ids", "StreamDecoder", "Tokenizer", "build_tokenizer", "tokenizer_from_json"]


def build_tokenizer(kind: str, text: Iterable[Any], vocab_size: int) -> Tokenizer:
    """Train a tokenizer on the training text.

    Args:
        kind: ``char``, ``byte``, ``unigram`` or ``bpe``.
        text: the training part of the corpus, whole or in pieces; not read for ``byte``.
        vocab_size: vocabulary size of a subword tokenizer; the others ignore it.
    """
    if kind == "byte":
        return ByteTokenizer()
    if kind == "char":
        return CharTokenizer.from_text(text)
    from chargen.tokenizers.subword import SubwordTokenizer  # takes 30 ms to import

    return SubwordTokenizer.from_text(kind, text, vocab_size)


def tokenizer_from_json(data: dict[str, Any]) -> Tokenizer:
    """Make a tokenizer from the data of ``Tokenizer.to_json``.

    Raises:
        TokenizerError: the kind is unknown or the vocabulary is damaged.
    """
    kind = data.get("kind")
    if kind == "byte":
        return ByteTokenizer()
    if kind == "char":
        return CharTokenizer.from_json(data)
    if kind in ("unigram", "bpe"):
        from chargen.tokenizers.subword import SubwordTokenizer

        return SubwordTokenizer.from_json(data)
    raise TokenizerError(f"the model's tokenizer is {kind!r}; known: char, byte, unigram, bpe")
