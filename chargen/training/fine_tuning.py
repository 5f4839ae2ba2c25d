"""A trained model as the beginning of another: its tokenizer grown, its weights moved.

Characters keep what was learned about them: rows of the embedding and the head are found by the
character, never by its number. A character that is new starts as the mean of all others, and one
that ends records as a newline, which ends paragraphs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from chargen.config.reading import RECORD_ENDS
from chargen.model.ngrams import token_codes
from chargen.model.spec import LABEL_STD, ModelConfig
from chargen.storage.checkpoint import Tensors
from chargen.tokenizers import Tokenizer
from chargen.tokenizers.char import CharTokenizer

END = RECORD_ENDS["rows"].encode()
LABELS = "labels.weight"
BY_TOKEN = ("embedding.weight", "head.weight", "head.bias")


def grown(tokenizer: Tokenizer, text: Iterable[Any]) -> Tokenizer:
    """Return a tokenizer that also covers a text; only the character tokenizer has to grow."""
    if not isinstance(tokenizer, CharTokenizer):
        return tokenizer
    return CharTokenizer.from_text([tokenizer.alphabet, *CharTokenizer.from_text(text).alphabet])


def grown_config(
    config: ModelConfig, tokenizer: Tokenizer, labels: tuple[str, ...] = ()
) -> ModelConfig:
    """Return the architecture of a model for the tokenizer that ``grown`` made of its own.

    Args:
        config: of the model.
        tokenizer: the new one.
        labels: of the new text.
    """
    codes = token_codes(tokenizer.pieces)
    tables = config.ngrams and replace(config.ngrams, codes=codes)
    return replace(config, vocab_size=tokenizer.vocab_size, ngrams=tables, labels=labels)


def transferred(weights: Tensors, old: Tokenizer, new: Tokenizer) -> Tensors:
    """Return the weights of a model of the old tokenizer for the new one.

    Args:
        weights: by their names in the model file.
        old: the tokenizer that they belong to.
        new: what ``grown`` made of it.
    """
    row_of = {piece: row for row, piece in enumerate(old.pieces)}
    row_of = {END: row_of.get(b"\n", -1), **row_of}
    rows = np.array([row_of.get(piece, -1) for piece in new.pieces])
    moved = dict(weights)
    for name in BY_TOKEN:
        moved[name] = weights[name][rows]
        moved[name][rows < 0] = weights[name].mean(axis=0, dtype=np.float64)
    return moved


def relabelled(weights: Tensors, old: ModelConfig, labels: tuple[str, ...]) -> Tensors:
    """Return the weights of a model for other labels; vectors of new ones start at random.

    Args:
        weights: by their names in the model file.
        old: the architecture that they belong to.
        labels: of the new text.
    """
    own = {name: weight for name, weight in weights.items() if name != LABELS}
    if not labels:
        return own
    draws = np.random.default_rng(len(labels)).normal(0, LABEL_STD, (len(labels), old.embedding))
    vectors = draws.astype(np.float32)
    for row, label in enumerate(labels):
        if label in old.labels:
            vectors[row] = weights[LABELS][old.labels.index(label)]
    return {**own, LABELS: vectors}
