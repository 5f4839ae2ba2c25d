"""From logits to a token: what is taken off, what is kept, and the draw.

Scores are float64 arrays (B, V), a row a sample; a token that is out has the score -inf. A filter
returns new scores; one that truncates never removes every token and never changes the order of
what it leaves. Probabilities are those of the scores as they stand, before the temperature.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chargen.config import SampleConfig

Scores = NDArray[np.float64]
Tokens = NDArray[np.int64]

STEEPEST = 600.0  # nats that DRY takes off at most
BELOW_ONE = 1 - 2.0**-52  # keeps rounding from putting a draw at the total, where no token is


# -- what is taken off --------------------------------------------------------------------


def penalised(scores: Scores, recent: Tokens, config: SampleConfig) -> Scores:
    """Take the three penalties off the scores (V,) of tokens that were seen lately.

    A positive score is divided by the repetition penalty, a negative one multiplied (Keskar et
    al. 2019); then the presence penalty is taken off once, the frequency penalty for each time.
    """
    counts = np.bincount(recent, minlength=len(scores))
    seen = counts > 0
    by = config.repeat_penalty
    repeated = np.where(scores > 0, scores / by, scores * by)
    flat = config.presence_penalty + config.frequency_penalty * counts
    return np.where(seen, repeated - flat, scores)


class Passages:
    """Where the last tokens occurred before, for DRY ("don't repeat yourself").

    For each place j of the text, ``lengths[j]`` is the number of tokens before j that equal the
    last tokens of the text, one by one. It follows from what it was a token ago: a new token x
    makes it lengths[j - 1] + 1 where token j - 1 is x, and 0 elsewhere.

    Args:
        text: tokens so far.
        last: how many of them count.
        breakers: tokens that no repeated passage crosses, (V,) of truth values.
    """

    def __init__(self, text: Tokens, last: int, breakers: NDArray[np.bool_]) -> None:
        self._last, self._breakers = last, breakers
        self.tokens = np.zeros(0, np.int64)
        self.lengths = np.zeros(0, np.int64)
        for token in text[-last:].tolist():
            self.add(token)

    def add(self, token: int) -> None:
        """Take in the next token of the text."""
        goes_on = self.tokens == token
        if self._breakers[token]:
            goes_on[:] = False
        longer = np.where(goes_on, self.lengths + 1, 0)  # before places 1 to n
        self.tokens = np.append(self.tokens, token)[-self._last :]
        self.lengths = np.append(0, longer)[-self._last :]

    def penalised(self, scores: Scores, config: SampleConfig) -> Scores:
        """Take off the scores (V,) of tokens that would make a repeated passage longer.

        The penalty is multiplier * base ** (length - allowed length), for the longest passage
        that the token would go on with.
        """
        longest = np.full(len(scores), -1)
        np.maximum.at(longest, self.tokens, self.lengths)
        over = longest - config.dry_allowed_length
        steps = np.minimum(over, STEEPEST / max(1e-9, math.log(config.dry_base)))
        taken = np.minimum(config.dry_multiplier * config.dry_base**steps, STEEPEST)
        return np.where(over >= 0, scores - taken, scores)


# -- what is kept -------------------------------------------------------------------------


def keep_top_k(scores: Scores, k: int) -> Scores:
    """Keep the k largest, exactly: of equal ones the lower id wins."""
    order = np.argsort(-scores, axis=-1, kind="stable")
    return _without(scores, order, np.arange(scores.shape[-1]) >= k)


def keep_typical(scores: Scores, p: float) -> Scores:
    """Keep the tokens whose surprise is nearest to the entropy, up to a probability of p.

    Locally typical sampling (Meister et al. 2023).
    """
    probs = probabilities(scores)
    with np.errstate(divide="ignore", invalid="ignore"):
        surprise = -np.log(probs)
        entropy = np.nansum(probs * surprise, axis=-1, keepdims=True)
    unusual = np.abs(surprise - entropy)
    return _up_to(scores, np.argsort(unusual, axis=-1, kind="stable"), p)


def keep_top_p(scores: Scores, p: float) -> Scores:
    """Keep the fewest likeliest whose probabilities sum to at least p (Holtzman et al. 2020)."""
    return _up_to(scores, np.argsort(-scores, axis=-1, kind="stable"), p)


def keep_min_p(scores: Scores, share: float) -> Scores:
    """Keep what is at least this share as likely as the likeliest (Nguyen et al. 2024)."""
    with np.errstate(divide="ignore"):
        least = scores.max(axis=-1, keepdims=True) + np.log(share)
    return np.where(scores >= least, scores, -np.inf)


def keep_unsurprising(scores: Scores, most: NDArray[np.float64]) -> Scores:
    """Keep what score_tokens by at most so many bits in each row (B,), and always the likeliest."""
    with np.errstate(divide="ignore"):
        surprise = -np.log2(probabilities(scores))
    least = surprise.min(axis=-1, keepdims=True)
    return np.where(surprise <= np.maximum(most[:, None], least), scores, -np.inf)


def _up_to(scores: Scores, order: Tokens, p: float) -> Scores:
    """Keep tokens in an order until their probabilities sum to at least p."""
    probs = np.take_along_axis(probabilities(scores), order, axis=-1)
    before = probs.cumsum(axis=-1) - probs
    return _without(scores, order, before >= p)


def _without(scores: Scores, order: Tokens, out: NDArray[np.bool_]) -> Scores:
    """Drop those tokens whose place in an order is out; the first place never is."""
    out = np.broadcast_to(out, scores.shape).copy()
    out[..., 0] = False
    dropped = np.empty_like(out)
    np.put_along_axis(dropped, order, out, axis=-1)
    return np.where(dropped, -np.inf, scores)


# -- the draw -----------------------------------------------------------------------------


def probabilities(scores: Scores) -> Scores:
    """Return the softmax of each row."""
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    probs: Scores = weights / weights.sum(axis=-1, keepdims=True)
    return probs


def log_probabilities(scores: NDArray[np.floating[Any]]) -> Scores:
    """Return the logarithm of the softmax of each row, in nats."""
    rows = scores.astype(np.float64)
    rows -= rows.max(axis=-1, keepdims=True)
    rows -= np.log(np.exp(rows).sum(axis=-1, keepdims=True))
    return rows


def truncated(scores: Scores, config: SampleConfig) -> Scores:
    """Apply the truncating filters that are on, in their order."""
    if config.top_k:
        scores = keep_top_k(scores, config.top_k)
    if config.typical < 1:
        scores = keep_typical(scores, config.typical)
    if config.top_p < 1:
        scores = keep_top_p(scores, config.top_p)
    if config.min_p:
        scores = keep_min_p(scores, config.min_p)
    return scores


def draw(scores: Scores, temperature: float, uniform: NDArray[np.float64]) -> Tokens:
    """Return a token a row, drawn by a uniform number in [0, 1) each; 0 takes the likeliest."""
    if temperature == 0:
        likeliest: Tokens = scores.argmax(axis=-1)
        return likeliest
    weights = scores - scores.max(axis=-1, keepdims=True)
    weights /= temperature
    cumulative = np.exp(weights, out=weights).cumsum(axis=-1)
    place = uniform[:, None] * (cumulative[:, -1:] * BELOW_ONE)
    tokens: Tokens = (cumulative > place).argmax(axis=-1)
    return tokens
