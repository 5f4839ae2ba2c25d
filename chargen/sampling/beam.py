"""The most likely continuation, as far as a beam finds it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chargen.config import SampleConfig
from chargen.sampling.decoding import bias
from chargen.sampling.filters import Scores, probabilities
from chargen.sampling.sampler import DecodeState, Sampler


@dataclass(frozen=True)
class Candidate:
    """A continuation.

    Attributes:
        text: of at most the length wanted; without the stop text that ended it.
        tokens: the same in tokens.
        logprobs: of each token under the model, in nats.
        finish_reason: ``length`` or ``stop``; None while it goes on.
    """

    text: str = ""
    tokens: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    finish_reason: str | None = None

    @property
    def logprob(self) -> float:
        """Log probability of the whole, in nats."""
        return sum(self.logprobs)


def most_likely(
    sampler: Sampler, place: DecodeState, config: SampleConfig, width: int
) -> list[Candidate]:
    """Return the likeliest continuations of a place that a beam of this width finds, best first.

    Each step goes on with the ``width`` likeliest of all one-token continuations of what is kept;
    of equal ones the lower id wins. Nothing is drawn: of the settings only length, stop texts,
    bias and bans count.

    Raises:
        ConfigError: a character that is banned or has a bias has no token of its own.
    """
    added = bias(sampler.tokenizer, config)
    going = [Candidate(finish_reason=None if config.length else "length")]
    done: list[Candidate] = []
    state, logits = place.state, place.logits[None]
    while going and not going[0].finish_reason:
        costs = np.log(probabilities(logits.astype(np.float64)))  # (B, V)
        rows, tokens = _best(going, costs, added, width - len(done))
        grown = [
            _grown(sampler, going[row], token, float(costs[row, token]), config)
            for row, token in zip(rows.tolist(), tokens.tolist(), strict=True)
        ]
        done += [candidate for candidate in grown if candidate.finish_reason]
        left = [n for n, candidate in enumerate(grown) if not candidate.finish_reason]
        going = [grown[n] for n in left]
        if going:
            state = tuple(part[:, rows[left]] for part in state)
            out, state = sampler.engine.run(tokens[left][:, None], state)
            logits = out[:, 0]
    return sorted([*going, *done], key=lambda candidate: -candidate.logprob)


def _best(
    going: list[Candidate], costs: Scores, added: Scores, width: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return rows and tokens of the likeliest continuations."""
    totals = np.array([candidate.logprob for candidate in going])[:, None] + costs + added
    order = np.argsort(-totals, axis=None, kind="stable")[:width]
    order = order[totals.ravel()[order] > -np.inf]
    rows, tokens = np.divmod(order, totals.shape[1])
    return rows, tokens


def _grown(
    sampler: Sampler, old: Candidate, token: int, logprob: float, config: SampleConfig
) -> Candidate:
    """Return a candidate with one more token, finished if it is long enough or has a stop text."""
    tokens = (*old.tokens, token)
    text = sampler.tokenizer.decode(tokens)
    stops = [found for stop in config.stop if (found := text.find(stop)) >= 0]
    end = min(stops, default=config.length)
    reason = "stop" if stops and end < config.length else None
    reason = reason or ("length" if len(text) >= config.length else None)
    return Candidate(text[:end], tokens, (*old.logprobs, logprob), reason)
