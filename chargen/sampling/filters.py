"""Penalties, truncation and sampling of one token from logits.

Scores are float64 arrays (B, V), one row per text: logits to which biases and penalties are
applied. A token that is excluded has the score -inf. A filter returns new scores. A filter that
truncates never excludes every token and never changes the order of the tokens it keeps.
Probabilities in filters are those of the scores before the temperature is applied.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chargen.config import SampleConfig

Scores = NDArray[np.float64]
Tokens = NDArray[np.int64]

MAX_DRY_PENALTY = 600.0  # nats
BELOW_ONE = (
    1 - 2.0**-52
)  # rounding must not select the end of the cumulative sum: no token is there


# -- penalties ----------------------------------------------------------------------------


def apply_penalties(scores: Scores, recent: Tokens, config: SampleConfig) -> Scores:
    """Apply the repetition, presence and frequency penalties to the scores (V,).

    The repetition penalty divides positive scores of recent tokens and multiplies negative ones
    (Keskar et al. 2019). The presence penalty is then subtracted once per token, the frequency
    penalty once per occurrence.

    Args:
        scores: of the next token (V,).
        recent: tokens that count as repeated.
        config: the penalties.
    """
    counts = np.bincount(recent, minlength=len(scores))
    by = config.repeat_penalty
    repeated = np.where(scores > 0, scores / by, scores * by)
    flat = config.presence_penalty + config.frequency_penalty * counts
    return np.where(counts > 0, repeated - flat, scores)


class DryPenalty:
    """The DRY ("don't repeat yourself") penalty of one text.

    ``lengths[j]`` is the number of tokens before position j that equal the last tokens of the
    text, one by one. It is updated in one step: a new token x makes it lengths[j - 1] + 1 where
    token j - 1 is x, and 0 elsewhere.

    Args:
        text: tokens so far.
        last: number of tokens to look back.
        breakers: sequence breakers, (V,) of booleans; no repeated passage contains one.
    """

    def __init__(self, text: Tokens, last: int, breakers: NDArray[np.bool_]) -> None:
        self._last, self._breakers = last, breakers
        self.tokens = np.zeros(0, np.int64)
        self.lengths = np.zeros(0, np.int64)
        for token in text[-last:].tolist():
            self.append(token)

    def append(self, token: int) -> None:
        """Append the next token of the text."""
        repeats = self.tokens == token
        if self._breakers[token]:
            repeats[:] = False
        longer = np.where(repeats, self.lengths + 1, 0)  # before positions 1 to n
        self.tokens = np.append(self.tokens, token)[-self._last :]
        self.lengths = np.append(0, longer)[-self._last :]

    def apply(self, scores: Scores, config: SampleConfig) -> Scores:
        """Subtract multiplier * base ** (length - allowed length) from the scores (V,).

        The length is that of the longest repeated passage that the token would extend.
        """
        longest = np.full(len(scores), -1)
        np.maximum.at(longest, self.tokens, self.lengths)
        over = longest - config.dry_allowed_length
        steps = np.minimum(over, MAX_DRY_PENALTY / max(1e-9, math.log(config.dry_base)))
        penalty = np.minimum(config.dry_multiplier * config.dry_base**steps, MAX_DRY_PENALTY)
        return np.where(over >= 0, scores - penalty, scores)


# -- truncation ---------------------------------------------------------------------------


def truncate(scores: Scores, config: SampleConfig) -> Scores:
    """Apply top-k, typical, top-p and min-p, in this order, where they are on."""
    if config.top_k:
        scores = keep_top_k(scores, config.top_k)
    if config.typical < 1:
        scores = keep_typical(scores, config.typical)
    if config.top_p < 1:
        scores = keep_top_p(scores, config.top_p)
    if config.min_p:
        scores = keep_min_p(scores, config.min_p)
    return scores


def keep_top_k(scores: Scores, k: int) -> Scores:
    """Keep exactly the k most likely tokens; of equal ones the lower id comes first."""
    order = np.argsort(-scores, axis=-1, kind="stable")
    return _exclude(scores, order, np.arange(scores.shape[-1]) >= k)


def keep_typical(scores: Scores, p: float) -> Scores:
    """Keep the tokens with a surprisal nearest to the entropy, up to a probability of p.

    Locally typical sampling (Meister et al. 2023).
    """
    probs = probabilities(scores)
    with np.errstate(divide="ignore", invalid="ignore"):
        surprisal = -np.log(probs)
        entropy = np.nansum(probs * surprisal, axis=-1, keepdims=True)
    distance = np.abs(surprisal - entropy)
    return _keep_up_to(scores, np.argsort(distance, axis=-1, kind="stable"), p)


def keep_top_p(scores: Scores, p: float) -> Scores:
    """Keep the fewest most likely tokens with a total of at least p (Holtzman et al. 2020)."""
    return _keep_up_to(scores, np.argsort(-scores, axis=-1, kind="stable"), p)


def keep_min_p(scores: Scores, fraction: float) -> Scores:
    """Keep tokens of at least this fraction of the best probability (Nguyen et al. 2024)."""
    with np.errstate(divide="ignore"):
        least = scores.max(axis=-1, keepdims=True) + np.log(fraction)
    return np.where(scores >= least, scores, -np.inf)


def keep_low_surprisal(scores: Scores, limits: NDArray[np.float64]) -> Scores:
    """Keep tokens up to a surprisal in bits per row (B,), and always the most likely one."""
    with np.errstate(divide="ignore"):
        surprisal = -np.log2(probabilities(scores))
    least = surprisal.min(axis=-1, keepdims=True)
    return np.where(surprisal <= np.maximum(limits[:, None], least), scores, -np.inf)


def _keep_up_to(scores: Scores, order: Tokens, p: float) -> Scores:
    """Keep tokens in an order until their probabilities sum to at least p."""
    probs = np.take_along_axis(probabilities(scores), order, axis=-1)
    before = probs.cumsum(axis=-1) - probs
    return _exclude(scores, order, before >= p)


def _exclude(scores: Scores, order: Tokens, out: NDArray[np.bool_]) -> Scores:
    """Exclude the tokens at those ranks of an order that are out; rank 0 is always kept."""
    out = np.broadcast_to(out, scores.shape).copy()
    out[..., 0] = False
    excluded = np.empty_like(out)
    np.put_along_axis(excluded, order, out, axis=-1)
    return np.where(excluded, -np.inf, scores)


# -- probabilities and sampling -----------------------------------------------------------


def probabilities(scores: Scores) -> Scores:
    """Return the softmax of each row."""
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    probs: Scores = weights / weights.sum(axis=-1, keepdims=True)
    return probs


def log_probabilities(scores: NDArray[np.floating[Any]]) -> Scores:
    """Return the log-softmax of each row, in nats."""
    rows = scores.astype(np.float64)
    rows -= rows.max(axis=-1, keepdims=True)
    rows -= np.log(np.exp(rows).sum(axis=-1, keepdims=True))
    return rows


def sample_tokens(scores: Scores, temperature: float, uniforms: NDArray[np.float64]) -> Tokens:
    """Sample one token per row.

    Args:
        scores: of the next token (B, V).
        temperature: divides the scores; 0 selects the most likely token.
        uniforms: random numbers in [0, 1), one per row (B,).
    """
    if temperature == 0:
        greedy: Tokens = scores.argmax(axis=-1)
        return greedy
    weights = scores - scores.max(axis=-1, keepdims=True)
    weights /= temperature
    cumulative = np.exp(weights, out=weights).cumsum(axis=-1)
    threshold = uniforms[:, None] * (cumulative[:, -1:] * BELOW_ONE)
    tokens: Tokens = (cumulative > threshold).argmax(axis=-1)
    return tokens
