"""Texts to be scored that are in no file."""

from __future__ import annotations

from dataclasses import replace

from chargen.data.dataset import Segment, encode_dataset
from chargen.tokenizers import Tokenizer, build_tokenizer
from tests.conftest import text_of


def segment_of(text: str, tokenizer: str | Tokenizer = "char", context: str = "\n") -> Segment:
    """Return a text to be scored after some context.

    Args:
        text: what is scored.
        tokenizer: of its ids, or the kind of one that is built from text and context.
        context: what stands before it.
    """
    if isinstance(tokenizer, str):
        tokenizer = build_tokenizer(tokenizer, [text + context], 300)
    dataset = encode_dataset(text_of(text, tokenizer.kind), tokenizer, 1.0)
    return replace(dataset.validation, context=tokenizer.encode(context))
