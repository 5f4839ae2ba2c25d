"""Scores of tokens: their log probabilities, and the most likely tokens in their places.

Legend of shapes: T places, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from chargen.sampling.filters import log_probabilities
from chargen.server.jobs import TokenScore
from chargen.tokenizers import Tokenizer


def token_scores(
    tokenizer: Tokenizer, logits: NDArray[np.floating[Any]], tokens: list[int], count: int
) -> list[TokenScore]:
    """Return the scores of tokens.

    Args:
        tokenizer: of the model.
        logits: of each place (T, V).
        tokens: one for each place.
        count: number of the most likely tokens to return with each.
    """
    rows = log_probabilities(logits)
    best = np.argsort(-rows, axis=-1, kind="stable")[:, :count].tolist()  # (T, count)
    return [
        TokenScore(
            name_of(tokenizer, token),
            token,
            float(row[token]),
            [(name_of(tokenizer, other), float(row[other])) for other in others],
        )
        for token, row, others in zip(tokens, rows, best, strict=True)
    ]


def first_score(tokenizer: Tokenizer, token: int) -> TokenScore:
    """Return the score of a token before which nothing was read."""
    return TokenScore(name_of(tokenizer, token), token, None, [])


def name_of(tokenizer: Tokenizer, token: int) -> str:
    r"""Return the text of a token; bytes that are a part of a character as ``\xc3``."""
    return tokenizer.pieces[token].decode("utf-8", "backslashreplace")
